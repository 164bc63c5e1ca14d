#include "server/control/slurm_script.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

bool IsName(absl::string_view text) {
  if (text.empty() || absl::ascii_isdigit(text.front())) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_') return false;
  }
  return true;
}

absl::StatusOr<std::string> Assignment(absl::string_view variable) {
  const size_t equals = variable.find('=');
  const absl::string_view name = variable.substr(0, equals);
  if (equals == absl::string_view::npos || !IsName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(variable),
                     "\" can't be a variable of a worker's environment; write "
                     "NAME=VALUE"));
  }
  return absl::StrCat("export ", name, "=",
                      ShellQuote(variable.substr(equals + 1)), "\n");
}

}  // namespace

std::string ShellQuote(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

absl::StatusOr<std::string> WorkerScript::Text() const {
  // A command first: after it sbatch looks for no options of its own in the
  // script, whatever a line of an argument is.
  std::string text = "#!/bin/sh\nset -u\n";
  for (const std::string& variable : environment) {
    ASSIGN_OR_RETURN(const std::string assignment, Assignment(variable));
    text += assignment;
  }
  // The full name where there is one: the server's machine may have another
  // domain.
  absl::StrAppend(&text, "host=$(hostname -f 2>/dev/null || hostname)\n");
  // Signals for the script are the worker's.
  absl::StrAppend(&text, "exec ", ShellQuote(program), " --listen \"$host:0\"");
  for (const std::string& argument : arguments) {
    absl::StrAppend(&text, " ", ShellQuote(argument));
  }
  absl::StrAppend(&text, " --token-file ", ShellQuote(token_file),
                  " --restart-count \"${SLURM_RESTART_COUNT:-0}\"\n");
  if (text.find('\0') != std::string::npos || absl::StrContains(text, "\r\n")) {
    return absl::InvalidArgumentError(
        "an argument or variable of a worker has a NUL byte or a DOS line end "
        "(\\r\\n), which Slurm takes in no script");
  }
  return text;
}

}  // namespace dissonance
