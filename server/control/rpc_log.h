// One log line for each RPC (method, code, milliseconds; never its contents),
// and the count of those in flight. Thread safe. Borrows the count.
//
//   CallCount calls;
//   builder.experimental().SetInterceptorCreators(RpcLogCreators(calls));
#ifndef DISSONANCE_SERVER_CONTROL_RPC_LOG_H_
#define DISSONANCE_SERVER_CONTROL_RPC_LOG_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/server_interceptor.h"

namespace dissonance {

// Calls in flight, without those of grpc's own services.
class CallCount {
 public:
  void Add(int change) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    count_ += change;
  }
  // Whether none was left within `timeout`.
  bool AwaitNone(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    const auto is_none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return count_ == 0;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&is_none), timeout);
  }

 private:
  absl::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::vector<
    std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
RpcLogCreators(CallCount& calls);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_RPC_LOG_H_
