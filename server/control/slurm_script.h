// The batch script that runs a worker. The functions are thread safe.
//
//   WorkerScript script{.program = "/opt/dissonance/bin/dissonance-worker"};
//   script.arguments = {"--device", "cuda:0"};
//   ASSIGN_OR_RETURN(const std::string text, script.Text());
#ifndef DISSONANCE_SERVER_CONTROL_SLURM_SCRIPT_H_
#define DISSONANCE_SERVER_CONTROL_SLURM_SCRIPT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// One word of a POSIX shell that stands for `text`, whatever is in it.
std::string ShellQuote(absl::string_view text);

struct WorkerScript {
  std::string program;  // absolute path
  std::vector<std::string> arguments = {};
  std::vector<std::string> environment = {};  // "NAME=VALUE"
  std::string token_file = {};

  // It becomes the worker, which is told to listen at a free port of the node
  // that it is on, and how often the job was run before. INVALID_ARGUMENT for
  // what can't be part of a script: NUL bytes and, as sbatch takes no such
  // script, DOS line ends; and for a variable without a name.
  absl::StatusOr<std::string> Text() const;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_SLURM_SCRIPT_H_
