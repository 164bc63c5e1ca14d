// A mixed load for a long time, and whether the server's memory, open handles
// and threads stay flat under it.
//
//   ASSIGN_OR_RETURN(Report report, RunSoak({.minutes = 30}));
#ifndef DISSONANCE_TESTS_ENDURANCE_SOAK_H_
#define DISSONANCE_TESTS_ENDURANCE_SOAK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/endurance/report.h"

namespace dissonance {

struct SoakOptions {
  double minutes = 30.0;
  int client_count = 8;
  uint64_t seed = 1;
  // Instead of minutes: every kind of call this often by each client, without
  // a verdict on growth. 0: off.
  int round_count = 0;
  // Names of the only kinds of calls to make. Empty: all.
  std::vector<std::string> only;
  // Whether each client is a user of its own, instead of the owner.
  bool own_users = true;
};

// A figure of a process over time, and what it may grow by.
struct Growth {
  double per_hour = 0.0;  // Theil-Sen slope
  double over_span = 0.0;
  double limit = 0.0;
  bool is_flat = true;  // over_span is not beyond the limit
};

// Of a resident set in bytes: it may grow by 2 % of its median and 8 MiB.
Growth GrowthOfMemory(absl::Span<const double> seconds,
                      absl::Span<const double> bytes);
// Of a number of handles or threads: it may grow or shrink by 8.
Growth GrowthOfCount(absl::Span<const double> seconds,
                     absl::Span<const double> counts);

absl::StatusOr<Report> RunSoak(const SoakOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_SOAK_H_
