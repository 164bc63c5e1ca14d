// The tiny world on a server of a long run, with one adapter more: the shipped
// one has no dropout, so MC-dropout needs another. Thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_TINY_WORLD_H_
#define DISSONANCE_TESTS_ENDURANCE_TINY_WORLD_H_

#include <string>

#include "absl/status/status.h"
#include "tests/testing/server_process.h"

namespace dissonance {

// The shipped adapter with a dropout of 0.2.
inline constexpr char kDropoutAdapter[] = "models/tiny/adapters/dropout";

// Makes the adapter's folder; the server reads it at each start of a worker.
absl::Status MakeDropoutAdapter(const std::string& folder);

// Loads the model and both adapters.
absl::Status LoadTinyWorldWithDropout(ServerProcess& server,
                                      const std::string& dropout_folder);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_TINY_WORLD_H_
