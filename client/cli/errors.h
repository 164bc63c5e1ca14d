// Errors as people and shells see them: one line that says what was wrong and
// what to do next, and an exit code. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_ERRORS_H_
#define DISSONANCE_CLIENT_CLI_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/status.h"

namespace dissonance::cli {

// What the process ends with.
enum ExitCode {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitNotAuthenticated = 4,
  kExitCancelled = 5,
  kExitGateAborted = 6,
};

// The exit code of a command that ended so.
ExitCode ExitCodeOf(const absl::Status& status);

// A command line that makes no sense: exit code 2.
absl::Status UsageError(absl::string_view message);

// A gate of a pipeline aborted it: exit code 6.
absl::Status GateError(absl::string_view message);

// Code and message of an RPC's end, with its google.rpc details (violations of
// fields, reason, retry delay, links) kept for RenderError.
absl::Status FromGrpc(const grpc::Status& status);

// `status` with `hint` as a further line of RenderError: what to do next.
absl::Status WithHint(const absl::Status& status, absl::string_view hint);

// "error: MESSAGE\n", then details and hint indented on lines of their own.
std::string RenderError(const absl::Status& status);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ERRORS_H_
