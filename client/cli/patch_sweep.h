// dissonance patch sweep. Thread compatible.
#ifndef DISSONANCE_CLIENT_CLI_PATCH_SWEEP_H_
#define DISSONANCE_CLIENT_CLI_PATCH_SWEEP_H_

#include "client/cli/command.h"

namespace dissonance::cli {

// Adds the options.
CommandRun DefinePatchSweep(CLI::App& app);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PATCH_SWEEP_H_
