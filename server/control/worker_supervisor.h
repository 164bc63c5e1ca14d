// Keeps one worker running while it is wanted: launches it with a one-time
// token, gives it its models, replaces it when it ends, loses its lease or
// hangs, with pauses that double. One thread of its own; see worker_state.h for
// the states.
//
//   WorkerSupervisor supervisor(options, {launcher, leases, route, catalog});
//   supervisor.Start();
//   ...
//   supervisor.Stop();
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_SUPERVISOR_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_SUPERVISOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/model_catalog.h"
#include "server/control/worker_launcher.h"
#include "server/control/worker_leases.h"
#include "server/control/worker_route.h"
#include "server/control/worker_state.h"
#include "src/base/steady_wait.h"

namespace grpc {
class ChannelCredentials;
}

namespace dissonance {

// Thread safe.
class WorkerSupervisor {
 public:
  struct Options {
    int worker = 0;           // which, from 0
    std::string name = {};    // "workers/local"
    std::string device = {};  // until it says so itself
    std::string log_file = {};
    int max_message_bytes = 0;
    // From when it has begun to run until it registers and can be called.
    absl::Duration start_limit;
    absl::Duration first_backoff;
    absl::Duration max_backoff;
    // From the request to end to being killed when stopping.
    absl::Duration stop_limit = absl::Seconds(10);
    // Whether the weights that it will load are read into this machine's
    // memory while it starts.
    bool reads_ahead = false;
  };
  struct Parts {
    WorkerLauncher& launcher;
    WorkerLeases& leases;
    WorkerRoute& route;
    ModelCatalog& catalog;
    // How the worker is spoken to.
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    // Gets true when the worker serves and false when it no longer does; runs
    // on the supervisor's thread.
    std::function<void(bool)> on_ready;
  };

  // Borrows the parts.
  WorkerSupervisor(Options options, Parts parts);
  // Stops.
  ~WorkerSupervisor();

  void Start();
  // Ends the worker, at last by force, and waits for that.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // One that is not wanted gets no more calls, ends when it has done those it
  // has, and is launched again when it is wanted. At first it is.
  void SetWanted(bool wanted) ABSL_LOCKS_EXCLUDED(mutex_);
  bool wanted() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Looks at the leases again: a worker registered.
  void Wake();

  v1::Worker Describe() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // False once the server stops.
  bool AwaitWanted() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<LaunchedWorker>> Launch();
  // Returns how it ended.
  std::string Watch(LaunchedWorker& worker);
  // Sees to lease and health; returns how it ended if it had to be ended.
  std::string Look(LaunchedWorker& worker);
  // Why it has to be ended; empty if it does not.
  std::string Trouble(LaunchedWorker& worker);
  // Lets go of a run that another one follows.
  void AwaitAnotherRun(const LaunchedWorker& worker, const std::string& why);
  // Gives its models to a worker that has registered; READY then.
  void MakeReady(const LeaseHolder& holder);
  // The lease is over: nothing more goes to the worker or comes from it.
  void Lose();
  std::string Kill(LaunchedWorker& worker, const std::string& why);
  // Lets calls under way end first, unless the server stops.
  std::string Terminate(LaunchedWorker& worker);
  void WaitForStop(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopping() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Enter(WorkerEvent event) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const Parts parts_;
  const int wake_fd_;
  // Of the thread: the lease that is served, 0 if none is, and its connection;
  // since when a registration is waited for; whether the end is no surprise.
  int64_t served_number_ = 0;
  std::shared_ptr<WorkerConnection> connection_;
  absl::Duration waiting_since_;
  bool asked_to_end_ = false;
  std::string unreachable_;  // why a worker that has registered can't be called
  int failed_probes_ = 0;    // one after the other
  mutable absl::Mutex mutex_;
  SteadyCondVar changes_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = true;
  v1::WorkerState state_ ABSL_GUARDED_BY(mutex_) = v1::WORKER_STATE_STOPPED;
  int pid_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string launched_as_ ABSL_GUARDED_BY(mutex_);
  std::string waits_for_ ABSL_GUARDED_BY(mutex_);
  int restart_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string last_exit_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_SUPERVISOR_H_
