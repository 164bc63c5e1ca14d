// Which worker a call goes to: of those that are READY, one that has the
// weights of its models on the device and that has least to do. Whoever calls
// chooses once and keeps the channel for the call. Thread safe.
//
//   WorkerRoute route(2);
//   route.Set(0, WorkerConnection::Open(address, bytes));
//   const WorkerChoice worker = route.For({.models = {"models/m"}});
//   CallWorker(worker.channel, "/dissonance.v1.Inference/Score", ...);
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_ROUTE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_ROUTE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/message_lite.h"
#include "server/control/named_models.h"
#include "server/control/worker_connection.h"
#include "src/base/clock.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/jobs/device_meter.h"

namespace dissonance {

// A worker for one call.
struct WorkerChoice {
  // Null if there is none now.
  WorkerChannel channel = nullptr;
  // Of its device; never null, and the route's.
  DeviceMeter* meter = nullptr;
};

class WorkerRoute {
 public:
  // Of workers 0 to worker_count - 1, none of which is READY. Borrows the
  // clock.
  explicit WorkerRoute(int worker_count = 1,
                       const Clock& clock = Clock::Real());

  // From now on the worker is reached so. Null: it is not READY. What went to
  // it before ends, as WorkerConnection::Cut() says.
  void Set(int worker, std::shared_ptr<WorkerConnection> connection)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The worker gets no more calls; those it has go on.
  void Withdraw(int worker) ABSL_LOCKS_EXCLUDED(mutex_);
  // The worker says which models' weights it has on its device. Until it does,
  // all are taken to be there.
  void SetResident(int worker, std::set<std::string> models)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // What the worker could not be given, though it is recorded. Calls that name
  // it go elsewhere, if they can.
  void SetLacking(int worker, std::set<std::string> names)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Every worker has it now.
  void SetHas(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether any that is READY lacks it; whether all do, false while none is.
  bool AnyLacks(const std::string& name) const ABSL_LOCKS_EXCLUDED(mutex_);
  bool AllLack(const std::string& name) const ABSL_LOCKS_EXCLUDED(mutex_);

  // What the worker has may not be what is recorded: it gets no calls, and has
  // to be replaced.
  void Drop(const WorkerChannel& worker, absl::string_view why)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Why a worker was dropped since it was Set(); empty: it was not.
  std::string WhyDropped(int worker) const ABSL_LOCKS_EXCLUDED(mutex_);

  // For a call that names these: the worker where a training keeps its adapter,
  // else the one that costs least. One that a call did not find is the last.
  WorkerChoice For(const NamedModels& named) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The same, read from the request; with one worker it is not read.
  WorkerChoice For(const google::protobuf::Message& request) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Those that are READY, in their order.
  std::vector<WorkerChannel> Ready() const ABSL_LOCKS_EXCLUDED(mutex_);
  int worker_count() const { return static_cast<int>(seats_.size()); }
  // Calls under way at a worker.
  int CallCount(int worker) const ABSL_LOCKS_EXCLUDED(mutex_);

  // An adapter that only the worker has which was chosen for a training, as
  // long as the object is there. Borrows the route.
  class KeptAdapter {
   public:
    KeptAdapter(WorkerRoute& route, std::string adapter,
                const WorkerChoice& worker);
    ~KeptAdapter();
    KeptAdapter(const KeptAdapter&) = delete;
    KeptAdapter& operator=(const KeptAdapter&) = delete;

   private:
    WorkerRoute& route_;
    const std::string adapter_;
  };

 private:
  struct Seat {
    explicit Seat(const Clock& clock) : meter(clock) {}

    DeviceMeter meter;
    std::shared_ptr<WorkerConnection> connection;
    std::optional<std::set<std::string>> resident;
    std::set<std::string> lacking;
    std::string why_dropped;
  };

  // What it costs a call to go there, in calls to wait for.
  static int64_t CostOf(const Seat& seat, const NamedModels& named);

  mutable absl::Mutex mutex_;
  // As many as there are workers, always; what they hold but for the meters is
  // guarded.
  std::vector<std::unique_ptr<Seat>> seats_;
  // Adapters to the worker that has them, maybe one that is withdrawn.
  std::map<std::string, WorkerChoice> kept_ ABSL_GUARDED_BY(mutex_);
};

// Whom the worker serves first.
enum class CallPriority {
  kInteractive,  // somebody waits for the answer
  kJob,          // a job's own, in the background
};

// One unary call, waited for, e.g. method "/dissonance.v1.Inference/Score".
// UNAVAILABLE if `channel` is null or the worker was lost; CANCELLED and
// DEADLINE_EXCEEDED as the options say.
absl::Status CallWorker(const WorkerChannel& channel, const std::string& method,
                        const google::protobuf::MessageLite& request,
                        google::protobuf::MessageLite& response,
                        const CallOptions& options,
                        CallPriority priority = CallPriority::kInteractive);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_ROUTE_H_
