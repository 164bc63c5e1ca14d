// How workers come to run: as processes of this machine, or as jobs of a
// cluster. A launcher is thread safe and outlives what it launched; what it
// launched belongs to one thread.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<LaunchedWorker> worker,
//                    launcher.Launch({.worker = 0, .token = lease.id, ...}));
//   while (!worker->AwaitEnd(wake_fd, absl::Seconds(5))) ...
//   log << worker->Reap();
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHER_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dissonance {

// What a worker is launched with.
struct WorkerLaunch {
  int worker = 0;              // which, from 0
  int64_t fencing_number = 0;  // of its first lease
  std::string token;           // trades for that lease
};

// A worker from its launch to its end. Going away ends it at once.
class LaunchedWorker {
 public:
  virtual ~LaunchedWorker() = default;

  // Waits until it has ended or `wake_fd` is readable, which is read then, at
  // most `timeout`. Whether it has ended.
  virtual bool AwaitEnd(int wake_fd, absl::Duration timeout) = 0;
  // Asks it to end, and returns at once.
  virtual void Terminate() = 0;
  // Ends it, and returns when it has ended or never will start.
  virtual void Kill() = 0;
  // How it ended. REQUIRES: AwaitEnd() said so, or Kill() was called.
  virtual std::string Reap() = 0;

  // E.g. "process 4711" or "Slurm job 12".
  virtual std::string name() const = 0;
  // Of this machine; 0: it runs elsewhere, or that is not known.
  virtual int pid() const = 0;
  // Whether it has begun to run, as far as is known: time spent in a cluster's
  // queue is no trouble of the worker's.
  virtual bool has_started() const = 0;
  // Why it does not run yet, in the launcher's words, e.g. "Resources"; empty:
  // it runs, or that is not known.
  virtual std::string waits_for() const { return ""; }
  // Whether it can be run again without being launched again, as a cluster does
  // with a job whose node failed. Then the loss of a lease does not end it.
  virtual bool may_restart() const = 0;
};

class WorkerLauncher {
 public:
  virtual ~WorkerLauncher() = default;

  // UNAVAILABLE if it can't be had now; what is wrong for good is found when
  // the server starts.
  virtual absl::StatusOr<std::unique_ptr<LaunchedWorker>> Launch(
      const WorkerLaunch& launch) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHER_H_
