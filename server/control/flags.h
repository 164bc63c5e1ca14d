// The command line of dissonanced: a configuration file and what is set on top
// of it. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_FLAGS_H_
#define DISSONANCE_SERVER_CONTROL_FLAGS_H_

#include <variant>

#include "absl/status/statusor.h"
#include "server/control/config.h"

namespace dissonance {

// The resolved configuration, or the exit code with which to end at once: 0
// after --help and --version, 2 after a usage error (said on standard error).
absl::StatusOr<std::variant<Config, int>> ConfigFromFlags(
    int argc, const char* const* argv);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FLAGS_H_
