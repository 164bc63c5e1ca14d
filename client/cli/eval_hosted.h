// dissonance eval hosted: multiple-choice questions to hosted chat models.
#ifndef DISSONANCE_CLIENT_CLI_EVAL_HOSTED_H_
#define DISSONANCE_CLIENT_CLI_EVAL_HOSTED_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace dissonance::cli {

CommandRun DefineHostedMcq(CLI::App& app);

// What the job's files in `directory` come to, for people.
absl::StatusOr<std::string> HostedMcqText(const std::string& directory);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_EVAL_HOSTED_H_
