// Slurm through its documented commands, which every installation has: the
// library behind them changes with each version. Thread safe.
//
//   ASSIGN_OR_RETURN(const SlurmCommands slurm, SlurmCommands::Find());
//   ASSIGN_OR_RETURN(const std::string job, slurm.Submit(script, options));
//   ASSIGN_OR_RETURN(const std::vector<SlurmJob> jobs, slurm.Jobs("workers"));
//   RETURN_IF_ERROR(slurm.Kill(job));
#ifndef DISSONANCE_SERVER_CONTROL_SLURM_COMMANDS_H_
#define DISSONANCE_SERVER_CONTROL_SLURM_COMMANDS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/control/command.h"

namespace dissonance {

enum class SlurmPhase {
  kQueued,  // to run, at first or again: PENDING, REQUEUE_HOLD, ...
  kRunning,
  kHalted,  // on its nodes without running: SUSPENDED, COMPLETING, ...
  kEnded,   // will not run any more
};

// Of a state as squeue writes it in full. States that nobody knows yet are
// kHalted: a job is given up only for a state that says so.
SlurmPhase SlurmPhaseOf(absl::string_view state);

struct SlurmJob {
  std::string id;
  std::string state;   // e.g. "PENDING"
  std::string reason;  // of that state, e.g. "Resources"; empty: none
  std::string nodes;   // e.g. "gpu[1-2]"; empty: none
  SlurmPhase phase = SlurmPhase::kQueued;
};

// Parts of what the commands print; INVALID_ARGUMENT quotes what can't be read.
absl::StatusOr<std::string> ParseSubmittedJob(absl::string_view output);
absl::StatusOr<std::vector<SlurmJob>> ParseJobs(absl::string_view output);
// How a job ended, in words as of "exit code 7 on node n1".
absl::StatusOr<std::string> ParseShownJob(absl::string_view output);
absl::StatusOr<std::string> ParseAccountedJob(absl::string_view output);

class SlurmCommands {
 public:
  // NOT_FOUND, with what to do, if a command is missing. `time_limit` is for
  // one command.
  static absl::StatusOr<SlurmCommands> Find(
      absl::Duration time_limit = absl::Seconds(30));

  // The new job's number. INVALID_ARGUMENT if Slurm refuses the job as it is,
  // UNAVAILABLE if it can't take it now. `options` are sbatch's.
  absl::StatusOr<std::string> Submit(
      const std::string& script, const std::vector<std::string>& options) const;
  // The same without submitting. OK too where the nodes that it needs may only
  // be away now: Slurm has the same words for that and for none such at all.
  absl::Status Check(const std::string& script,
                     const std::vector<std::string>& options) const;
  // Our jobs of that name, also those that ended a while ago. UNAVAILABLE if
  // Slurm does not answer, which says nothing of any job.
  absl::StatusOr<std::vector<SlurmJob>> Jobs(const std::string& name) const;
  // How a job ended, e.g. "exit code 7 on node n1", as the controller knows it,
  // or accounting where there is any. NOT_FOUND if neither does any more.
  absl::StatusOr<std::string> EndOf(const std::string& job) const;

  // These are OK if the job is not there any more. Which one a job needs
  // depends on where it is: Slurm repeats for minutes what it can't do yet.
  //
  // SIGTERM to the script of a job that runs. Unlike a cancelled job, to which
  // Slurm grants its KillWait, it can be killed at once afterwards.
  absl::Status Terminate(const std::string& job) const;
  // SIGKILL to the script of a job that runs; one that waits never will.
  absl::Status Kill(const std::string& job) const;
  // Takes back one that waits, and does nothing to one that runs.
  absl::Status CancelQueued(const std::string& job) const;
  // Ends one whose node may not answer, and does not have it run again.
  absl::Status Cancel(const std::string& job) const;

 private:
  explicit SlurmCommands(absl::Duration time_limit) : time_limit_(time_limit) {}

  // The command's standard output if it succeeded.
  absl::StatusOr<std::string> Run(const std::string& program,
                                  std::vector<std::string> arguments,
                                  const std::string& input = "") const;
  absl::Status Scancel(std::vector<std::string> arguments) const;

  absl::Duration time_limit_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_SLURM_COMMANDS_H_
