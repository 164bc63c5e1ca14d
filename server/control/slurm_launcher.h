// Workers as jobs of a Slurm cluster. The program, the folder and the logs have
// to be at the same place on all of its nodes, as on a shared file system. What
// becomes of a job is asked for now and then; a controller that is away ends
// nothing. Thread safe.
//
//   SlurmLauncher::Options options{.program = "/opt/bin/dissonance-worker"};
//   options.job_name = SlurmJobName(data_directory);
//   ...
//   ASSIGN_OR_RETURN(auto launcher, SlurmLauncher::Create(options));
//   ASSIGN_OR_RETURN(auto worker, launcher->Launch({.worker = 0, ...}));
#ifndef DISSONANCE_SERVER_CONTROL_SLURM_LAUNCHER_H_
#define DISSONANCE_SERVER_CONTROL_SLURM_LAUNCHER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/control/slurm_commands.h"
#include "server/control/slurm_watch.h"
#include "server/control/worker_launcher.h"

namespace dissonance {

// The name of all jobs of the server with that data directory.
std::string SlurmJobName(const std::string& data_directory);

class SlurmLauncher final : public WorkerLauncher {
 public:
  struct Options {
    std::string program;                   // dissonance-worker's absolute path
    std::vector<std::string> arguments;    // of all workers
    std::vector<std::string> environment;  // "NAME=VALUE", of all workers
    // Arguments of one worker more; none if empty.
    std::function<std::vector<std::string>(int worker)> worker_arguments;
    std::string folder;  // there, ours alone; takes the token files
    std::function<std::string(int worker)> log_file;
    std::string job_name;
    // Of sbatch's, one in each, e.g. "--partition=gpu" and "--gres=gpu:1".
    std::vector<std::string> sbatch_options;
    absl::Duration poll_interval = absl::Seconds(10);
    // Most that Kill waits for a job to leave its node; Slurm itself grants 30
    // s by default.
    absl::Duration kill_limit = absl::Seconds(60);
    absl::Duration command_limit = absl::Seconds(30);
  };

  // Ends the jobs that an earlier server left, and removes its token files; if
  // Slurm's controller does not answer, the first launch does once it answers.
  // NOT_FOUND without Slurm's commands or the program, INVALID_ARGUMENT for
  // options that can't be meant or that Slurm refuses.
  static absl::StatusOr<std::unique_ptr<SlurmLauncher>> Create(
      const Options& options);

  absl::StatusOr<std::unique_ptr<LaunchedWorker>> Launch(
      const WorkerLaunch& launch) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  SlurmLauncher(Options options, const SlurmCommands& slurm);

  absl::StatusOr<std::string> Script(int worker,
                                     const std::string& token_file) const;
  std::vector<std::string> SbatchOptions(int worker) const;
  // What has to succeed once before a launch: Check() and EndOrphans(). One
  // attempt at a time, whose outcome is that of all who waited for it.
  absl::Status Prepare() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether Slurm takes such jobs; UNAVAILABLE if it does not answer.
  absl::Status Check() const;
  absl::Status EndOrphans();

  const Options options_;
  const SlurmCommands slurm_;
  SlurmWatch watch_;
  absl::Mutex mutex_;
  absl::Status prepared_ ABSL_GUARDED_BY(mutex_) =
      absl::UnavailableError("not tried yet");
  std::atomic<int> attempt_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_SLURM_LAUNCHER_H_
