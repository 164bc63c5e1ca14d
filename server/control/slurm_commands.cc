#include "server/control/slurm_commands.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kJobFormat[] = "--format=%i|%T|%r|%N";
constexpr char kAccountFormat[] = "--format=State,ExitCode,NodeList";

// What commands and jobs need of our environment. The rest stays here: it would
// go with the job to its nodes, keys of hosted models included, and settings of
// squeue's would change what it prints.
std::vector<std::string> Environment() {
  std::vector<std::string> environment;
  for (const char* name : {"PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME",
                           "LANG", "TZ", "SLURM_CONF"}) {
    if (const char* value = std::getenv(name); value != nullptr) {
      environment.push_back(absl::StrCat(name, "=", value));
    }
  }
  return environment;
}

// Whatever the case of `text`; the parts are in lower case.
bool ContainsAny(absl::string_view text,
                 std::initializer_list<absl::string_view> parts) {
  const std::string lower = absl::AsciiStrToLower(text);
  for (const absl::string_view part : parts) {
    if (absl::StrContains(lower, part)) return true;
  }
  return false;
}

// Whether sbatch would say the same of this job tomorrow.
bool IsRefusal(absl::string_view errors) {
  return ContainsAny(errors, {"invalid", "unrecognized option", "ambiguous",
                              "denied", "requires an argument"});
}

absl::Status Unreadable(absl::string_view what, absl::string_view output) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, " printed what can't be read: \"",
                   absl::CHexEscape(output.substr(0, 200)), "\""));
}

absl::string_view OrNothing(absl::string_view text) {
  return ContainsAny(text, {"(null)"}) || text == "None" ||
                 text == "None assigned"
             ? ""
             : text;
}

// Of "7:0", an exit code and a signal.
absl::StatusOr<std::string> ExitInWords(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  int code = 0;
  int signal = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &code) ||
      !absl::SimpleAtoi(parts[1], &signal)) {
    return Unreadable("Slurm, as an exit code,", text);
  }
  if (signal == 0) return absl::StrCat("exit code ", code);
  return absl::StrCat("signal ", signal, " (", ::strsignal(signal), ")");
}

struct End {
  absl::string_view state;
  absl::string_view exit;
  absl::string_view nodes;
  absl::string_view reason = {};
};

absl::StatusOr<std::string> EndInWords(const End& end) {
  // As in "CANCELLED by 1000".
  const absl::string_view state = end.state.substr(0, end.state.find(' '));
  if (SlurmPhaseOf(state) != SlurmPhase::kEnded) {
    return absl::NotFoundError(
        absl::StrCat("Slurm says that the job is ", state));
  }
  const absl::string_view reason = OrNothing(end.reason);
  std::string words;
  // Of Slurm's own: 53 is what it calls output that can't be opened.
  if (state == "FAILED" && (end.exit == "0:0" || end.exit == "0:53")) {
    words = absl::StrCat("it could not be started", reason.empty() ? "" : ": ",
                         reason);
  } else if (state == "COMPLETED" || state == "FAILED") {
    ASSIGN_OR_RETURN(words, ExitInWords(end.exit));
  } else if (state == "TIMEOUT") {
    words = "its time limit is over";
  } else if (state == "NODE_FAIL") {
    words = "its node failed";
  } else {
    words = absl::StrReplaceAll(absl::AsciiStrToLower(state), {{"_", " "}});
  }
  const absl::string_view nodes = OrNothing(end.nodes);
  if (!nodes.empty()) absl::StrAppend(&words, " on node ", nodes);
  return words;
}

// Of "A=1 B=2": what follows the first NAME=, up to a space.
absl::string_view FieldOf(absl::string_view line, absl::string_view name) {
  for (const absl::string_view word : absl::StrSplit(line, ' ')) {
    if (absl::StartsWith(word, name) && word.size() > name.size() &&
        word[name.size()] == '=') {
      return word.substr(name.size() + 1);
    }
  }
  return "";
}

}  // namespace

SlurmPhase SlurmPhaseOf(absl::string_view state) {
  for (const absl::string_view ended :
       {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED",
        "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
        "TIMEOUT"}) {
    if (state == ended) return SlurmPhase::kEnded;
  }
  for (const absl::string_view queued :
       {"CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
        "RESV_DEL_HOLD", "SPECIAL_EXIT"}) {
    if (state == queued) return SlurmPhase::kQueued;
  }
  return state == "RUNNING" ? SlurmPhase::kRunning : SlurmPhase::kHalted;
}

absl::StatusOr<std::string> ParseSubmittedJob(absl::string_view output) {
  const absl::string_view text = absl::StripAsciiWhitespace(output);
  if (text.empty() ||
      text.find_first_not_of("0123456789") != absl::string_view::npos) {
    return Unreadable("sbatch", output);
  }
  return std::string(text);
}

absl::StatusOr<std::vector<SlurmJob>> ParseJobs(absl::string_view output) {
  std::vector<SlurmJob> jobs;
  for (const absl::string_view line :
       absl::StrSplit(output, '\n', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '|');
    if (fields.size() != 4 || fields[0].empty() || fields[1].empty()) {
      return Unreadable("squeue", line);
    }
    jobs.push_back({.id = std::string(fields[0]),
                    .state = std::string(fields[1]),
                    .reason = std::string(OrNothing(fields[2])),
                    .nodes = std::string(OrNothing(fields[3])),
                    .phase = SlurmPhaseOf(fields[1])});
  }
  return jobs;
}

absl::StatusOr<std::string> ParseShownJob(absl::string_view output) {
  const absl::string_view line = output.substr(0, output.find('\n'));
  const absl::string_view state = FieldOf(line, "JobState");
  if (state.empty()) return Unreadable("scontrol show job", output);
  return EndInWords({.state = state,
                     .exit = FieldOf(line, "ExitCode"),
                     .nodes = FieldOf(line, "NodeList"),
                     .reason = FieldOf(line, "Reason")});
}

absl::StatusOr<std::string> ParseAccountedJob(absl::string_view output) {
  // A line for each time that it ran, the last one last.
  const std::vector<absl::string_view> lines =
      absl::StrSplit(output, '\n', absl::SkipWhitespace());
  if (lines.empty()) return absl::NotFoundError("sacct knows no such job");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(lines.back(), '|');
  if (fields.size() != 3) return Unreadable("sacct", lines.back());
  return EndInWords(
      {.state = fields[0], .exit = fields[1], .nodes = fields[2]});
}

absl::StatusOr<SlurmCommands> SlurmCommands::Find(absl::Duration time_limit) {
  for (const char* program : {"sbatch", "squeue", "scancel", "scontrol"}) {
    const absl::Status found = FindProgram(program).status();
    if (!found.ok()) {
      return absl::NotFoundError(
          absl::StrCat(found.message(),
                       "; install Slurm's commands on this machine (of the "
                       "cluster's version), or put their folder into PATH"));
    }
  }
  return SlurmCommands(time_limit);
}

absl::StatusOr<std::string> SlurmCommands::Run(
    const std::string& program, std::vector<std::string> arguments,
    const std::string& input) const {
  const absl::StatusOr<CommandOutput> output =
      RunCommand({.program = program,
                  .arguments = std::move(arguments),
                  .environment = Environment(),
                  .input = input,
                  .time_limit = time_limit_,
                  .output_bytes = size_t{16} << 20});
  if (!output.ok()) return absl::UnavailableError(output.status().message());
  if (output->exit_code == 0) return output->output;
  const std::vector<absl::string_view> errors =
      absl::StrSplit(output->errors, '\n', absl::SkipWhitespace());
  return absl::UnavailableError(absl::StrCat(program, " failed with exit code ",
                                             output->exit_code, ": ",
                                             absl::StrJoin(errors, "; ")));
}

absl::StatusOr<std::string> SlurmCommands::Submit(
    const std::string& script, const std::vector<std::string>& options) const {
  std::vector<std::string> arguments = options;
  arguments.push_back("--parsable");
  absl::StatusOr<std::string> output =
      Run("sbatch", std::move(arguments), script);
  if (output.ok()) return ParseSubmittedJob(*output);
  if (!IsRefusal(output.status().message())) return output.status();
  return absl::InvalidArgumentError(output.status().message());
}

absl::Status SlurmCommands::Check(
    const std::string& script, const std::vector<std::string>& options) const {
  std::vector<std::string> arguments = options;
  arguments.push_back("--test-only");
  const absl::Status status =
      Run("sbatch", std::move(arguments), script).status();
  if (!IsRefusal(status.message())) return absl::OkStatus();
  return absl::InvalidArgumentError(status.message());
}

absl::StatusOr<std::vector<SlurmJob>> SlurmCommands::Jobs(
    const std::string& name) const {
  ASSIGN_OR_RETURN(const std::string output,
                   Run("squeue", {"--me", absl::StrCat("--name=", name),
                                  "--states=all", "--noheader", kJobFormat}));
  return ParseJobs(output);
}

absl::StatusOr<std::string> SlurmCommands::EndOf(const std::string& job) const {
  const absl::StatusOr<std::string> shown =
      Run("scontrol", {"--oneliner", "show", "job", job});
  if (shown.ok()) return ParseShownJob(*shown);
  // The controller forgets jobs after a while, accounting does not; but many
  // clusters have none, or no command for it here.
  const absl::StatusOr<std::string> accounted =
      Run("sacct", {"--noheader", "--allocations", "--parsable2",
                    absl::StrCat("--jobs=", job), kAccountFormat});
  if (accounted.ok()) return ParseAccountedJob(*accounted);
  return absl::NotFoundError(absl::StrCat(shown.status().message(), "; ",
                                          accounted.status().message()));
}

absl::Status SlurmCommands::Scancel(std::vector<std::string> arguments) const {
  const absl::Status status = Run("scancel", std::move(arguments)).status();
  // It is gone, is about to be, or is not where the signal could reach it.
  if (ContainsAny(status.message(), {"invalid job id", "can not be altered",
                                     "already complet"})) {
    return absl::OkStatus();
  }
  return status;
}

absl::Status SlurmCommands::Terminate(const std::string& job) const {
  return Scancel({"--signal=TERM", "--batch", job});
}

absl::Status SlurmCommands::Kill(const std::string& job) const {
  return Scancel({"--signal=KILL", "--batch", job});
}

absl::Status SlurmCommands::CancelQueued(const std::string& job) const {
  return Scancel({"--state=PENDING", job});
}

absl::Status SlurmCommands::Cancel(const std::string& job) const {
  return Scancel({job});
}

}  // namespace dissonance
