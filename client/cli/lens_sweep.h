// The commands that read many prompts as a job: lens sweep, activations
// extract. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_LENS_SWEEP_H_
#define DISSONANCE_CLIENT_CLI_LENS_SWEEP_H_

#include "client/cli/command.h"

namespace dissonance::cli {

// Add the options.
CommandRun DefineLensSweep(CLI::App& app);
CommandRun DefineActivationsExtract(CLI::App& app);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_LENS_SWEEP_H_
