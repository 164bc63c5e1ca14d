// The way to the worker that serves now, if there is one. Whoever calls takes
// the channel once and keeps it for the call. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_ROUTE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_ROUTE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/message_lite.h"
#include "src/lab/eval/compute_client.h"

namespace grpc {
class Channel;
}

namespace dissonance {

using WorkerChannel = std::shared_ptr<grpc::Channel>;

class WorkerRoute {
 public:
  void Set(WorkerChannel channel) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    channel_ = std::move(channel);
  }
  // Null while no worker is READY.
  WorkerChannel channel() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return channel_;
  }

 private:
  mutable absl::Mutex mutex_;
  WorkerChannel channel_ ABSL_GUARDED_BY(mutex_);
};

// A channel to a worker's address that shares no connection with another.
WorkerChannel OpenWorkerChannel(const std::string& address,
                                int max_message_bytes);

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
