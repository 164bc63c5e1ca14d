// What is written down of each RPC: a line in the log (who, what, how it ended,
// milliseconds; never its contents), for those that change something a row in
// the audit log, before they are answered; and the count of those in flight.
// Every call gets a request id, its own `x-request-id` if it sent one, which
// goes back with the answer. Thread safe. Borrows everything.
//
//   CallCount calls;
//   builder.experimental().SetInterceptorCreators(
//       RpcLogCreators({calls, tokens, audit, clock}));
#ifndef DISSONANCE_SERVER_CONTROL_RPC_LOG_H_
#define DISSONANCE_SERVER_CONTROL_RPC_LOG_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/server_interceptor.h"
#include "src/base/clock.h"
#include "src/base/steady_wait.h"
#include "src/lab/storage/audit_log.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

// Calls in flight, without those of grpc's own services.
class CallCount {
 public:
  void Add(int change) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    count_ += change;
    if (count_ == 0) none_.SignalAll();
  }
  int count() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return count_;
  }
  // Whether none was left within `timeout`.
  bool AwaitNone(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    const absl::Duration end = Clock::Real().Monotonic() + timeout;
    while (count_ != 0) {
      const absl::Duration left = end - Clock::Real().Monotonic();
      if (left <= absl::ZeroDuration()) return false;
      none_.WaitWithTimeout(mutex_, left);
    }
    return true;
  }

 private:
  absl::Mutex mutex_;
  SteadyCondVar none_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct RpcLogParts {
  CallCount& calls;
  TokenStore& tokens;
  AuditLog& audit;
  const Clock& clock;
};

std::vector<
    std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
RpcLogCreators(const RpcLogParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_RPC_LOG_H_
