// Jobs that ended long ago, written into a database without a server.
#ifndef DISSONANCE_TESTS_ENDURANCE_HISTORY_H_
#define DISSONANCE_TESTS_ENDURANCE_HISTORY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dissonance {

// Adds `count` jobs that SUCCEEDED with one question each, by turns of the
// `owners` ("alice", not "users/alice"). Returns their names, oldest first.
// REQUIRES: no server runs on `data_dir`.
absl::StatusOr<std::vector<std::string>> WriteHistory(
    const std::string& data_dir, const std::vector<std::string>& owners,
    int count);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_HISTORY_H_
