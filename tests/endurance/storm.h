// Jobs under a storm of kills: a mixed load of evaluations, while control
// plane and worker are killed at random moments. What CreateJob acknowledged
// has to end as if nothing had happened.
//
//   ASSIGN_OR_RETURN(Report report, RunStorm({.kill_count = 8}));
#ifndef DISSONANCE_TESTS_ENDURANCE_STORM_H_
#define DISSONANCE_TESTS_ENDURANCE_STORM_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "tests/endurance/report.h"

namespace dissonance {

struct StormOptions {
  int kill_count = 200;
  // Different jobs; they are made again, under other request ids, while the
  // storm goes on.
  int job_count = 40;
  // Threads, each with a job or a pair of jobs of its own at a time.
  int client_count = 12;
  // Threads that compute and change adapters meanwhile.
  int caller_count = 2;
  // Of victims and delays.
  uint64_t seed = 1;
  // Whether some jobs depend on others.
  bool with_dependencies = true;
};

// Runs it in a temporary folder, which stays if a promise is broken: the
// report's violations name it. An error if it could not be run at all.
absl::StatusOr<Report> RunStorm(const StormOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_STORM_H_
