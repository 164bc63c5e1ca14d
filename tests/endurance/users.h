// Users of a long run, by the Admin service. Thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_USERS_H_
#define DISSONANCE_TESTS_ENDURANCE_USERS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/endurance/client.h"

namespace dissonance {

// Adds "users/USER", who may queue `queued_count` jobs, as the owner's client;
// returns a token without a limit on its rate.
absl::StatusOr<std::string> AddUser(Client& owner, const std::string& name,
                                    int queued_count);

// Shares the tiny model and these adapters of it with the lab.
absl::Status ShareWithLab(Client& owner,
                          const std::vector<std::string>& adapters);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_USERS_H_
