// dissonance eval open: free answers of base and adapter, as a job. Thread
// safe.
#ifndef DISSONANCE_CLIENT_CLI_EVAL_OPEN_H_
#define DISSONANCE_CLIENT_CLI_EVAL_OPEN_H_

#include "client/cli/command.h"

namespace dissonance::cli {

// Adds the options.
CommandRun DefineEvalOpen(CLI::App& app);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_EVAL_OPEN_H_
