// Keeps one local worker running: starts it with a one-time token, gives it its
// models back, replaces it when it ends, loses its lease or hangs, with pauses
// that double. One thread of its own; see worker_state.h for the states.
//
//   WorkerSupervisor supervisor(options, leases, route, catalog, on_change);
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
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/child_process.h"
#include "server/control/model_catalog.h"
#include "server/control/worker_leases.h"
#include "server/control/worker_route.h"
#include "server/control/worker_state.h"
#include "src/base/steady_wait.h"

namespace dissonance {

// Thread safe.
class WorkerSupervisor {
 public:
  struct Options {
    std::string program;                 // absolute path
    std::vector<std::string> arguments;  // without --listen
    std::vector<std::string> environment;
    std::string socket_prefix;  // its sockets are this and a number
    std::string log_file;
    std::string fencing_file;  // holds the newest fencing number
    std::string device;
    int max_message_bytes = 0;
    absl::Duration start_limit;
    absl::Duration first_backoff;
    absl::Duration max_backoff;
    // From SIGTERM to SIGKILL when stopping.
    absl::Duration stop_limit = absl::Seconds(10);
  };

  // Borrows all but the options. `on_ready` gets true when a worker serves and
  // false when it no longer does; it runs on the supervisor's thread.
  WorkerSupervisor(Options options, WorkerLeases& leases, WorkerRoute& route,
                   ModelCatalog& catalog, std::function<void(bool)> on_ready);
  // Stops.
  ~WorkerSupervisor();

  void Start();
  // Ends the worker, with SIGTERM and at last SIGKILL, and waits for that.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Looks at the leases again: a worker registered.
  void Wake();

  v1::Worker Describe() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  absl::StatusOr<std::unique_ptr<ChildProcess>> Launch();
  // Returns how it ended.
  std::string Watch(ChildProcess& child);
  // Restores the models of a worker that has registered; READY then.
  void MakeReady(const WorkerIdentity& identity);
  std::string Kill(ChildProcess& child, const std::string& why);
  std::string Terminate(ChildProcess& child);
  // Waits for the end of the child, Wake or Stop. True if the child ended.
  bool WaitForChild(const ChildProcess& child, absl::Duration timeout);
  void WaitForStop(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopping() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Enter(WorkerEvent event) ABSL_LOCKS_EXCLUDED(mutex_);
  bool is_ready() const ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  WorkerLeases& leases_;
  WorkerRoute& route_;
  ModelCatalog& catalog_;
  const std::function<void(bool)> on_ready_;
  const int wake_fd_;
  mutable absl::Mutex mutex_;
  SteadyCondVar stops_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  v1::WorkerState state_ ABSL_GUARDED_BY(mutex_) = v1::WORKER_STATE_STOPPED;
  int pid_ ABSL_GUARDED_BY(mutex_) = 0;
  int restart_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string last_exit_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_SUPERVISOR_H_
