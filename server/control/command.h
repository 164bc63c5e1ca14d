// Runs a program to its end, without a shell, and keeps what it wrote. Thread
// safe. It has no descriptors of ours, default signal handling and a process
// group of its own, which is killed when the time is over.
//
//   ASSIGN_OR_RETURN(const CommandOutput output,
//                    RunCommand({.program = "squeue", .arguments = {"-h"}}));
//   if (output.exit_code != 0) return absl::UnavailableError(output.errors);
#ifndef DISSONANCE_SERVER_CONTROL_COMMAND_H_
#define DISSONANCE_SERVER_CONTROL_COMMAND_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace dissonance {

struct Command {
  std::string program;  // a path, or a name that is looked for in our PATH
  std::vector<std::string> arguments = {};
  std::vector<std::string> environment = {};  // "NAME=VALUE", and no others
  std::string input = {};                     // of its standard input
  absl::Duration time_limit = absl::Seconds(30);
  size_t output_bytes = size_t{1} << 20;  // most of either stream
};

struct CommandOutput {
  int exit_code = 0;  // 128 + signal if one ended it
  std::string output;
  std::string errors;
};

// NOT_FOUND if there is no such program; DEADLINE_EXCEEDED if it was killed
// when its time was over; RESOURCE_EXHAUSTED if it was because it wrote too
// much. What it leaves running in the background is not waited for.
absl::StatusOr<CommandOutput> RunCommand(const Command& command);

// Where a program is: `name` itself if it has a slash, else of the folders of
// our PATH. NOT_FOUND if no such file can be run.
absl::StatusOr<std::string> FindProgram(absl::string_view name);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_COMMAND_H_
