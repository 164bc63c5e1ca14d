// The command line of dissonanced: a configuration file and what is set on top
// of it, or a subcommand for a data directory without a server. Thread safe.
//
//   ASSIGN_OR_RETURN(const CommandLine line, ParseCommandLine(argc, argv));
//   if (const Config* config = std::get_if<Config>(&line)) Serve(*config);
#ifndef DISSONANCE_SERVER_CONTROL_FLAGS_H_
#define DISSONANCE_SERVER_CONTROL_FLAGS_H_

#include <variant>

#include "absl/status/statusor.h"
#include "server/control/config.h"
#include "server/control/maintenance.h"

namespace dissonance {

// The resolved configuration to serve with, a subcommand to run, or the exit
// code with which to end at once: 0 after --help and --version, 2 after a usage
// error (said on standard error).
using CommandLine = std::variant<Config, Maintenance, int>;

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_FLAGS_H_
