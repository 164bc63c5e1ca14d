// `dissonance eval judge`: has a hosted model judge free answers, or sums up
// judgements that are there, without a server. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_EVAL_JUDGE_H_
#define DISSONANCE_CLIENT_CLI_EVAL_JUDGE_H_

#include "client/cli/command.h"

namespace dissonance::cli {

CommandRun DefineEvalJudge(CLI::App& app);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_EVAL_JUDGE_H_
