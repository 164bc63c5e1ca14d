// Two users on one server with a long history: whether one's many jobs delay
// the other's one, and how long calls about jobs take meanwhile.
//
//   ASSIGN_OR_RETURN(Report report, RunFairness({.queued_count = 10'000}));
#ifndef DISSONANCE_TESTS_ENDURANCE_FAIRNESS_H_
#define DISSONANCE_TESTS_ENDURANCE_FAIRNESS_H_

#include "absl/status/statusor.h"
#include "tests/endurance/report.h"

namespace dissonance {

struct FairnessOptions {
  // Jobs that the first user queues.
  int queued_count = 10'000;
  // Jobs of both users that ended long ago.
  int history_count = 100'000;
  // Calls of each kind that are timed.
  int call_count = 1'000;
  // Only the times of calls, with all jobs the owner's.
  bool lists_only = false;
  // Whether a call that takes too long is a violation.
  bool judge_times = true;
};

// A job of the second user has to start before more of the first user's do
// than can run at once; 99 % of lists, of GetJob and of watches' first messages
// have to come within 50 ms.
absl::StatusOr<Report> RunFairness(const FairnessOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_FAIRNESS_H_
