// Whether the server serves: a worker is READY and it is not about to stop.
// Tells grpc.health.v1 and the jobs. Thread safe. Borrows what it tells.
#ifndef DISSONANCE_SERVER_CONTROL_READINESS_H_
#define DISSONANCE_SERVER_CONTROL_READINESS_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/health_check_service_interface.h"
#include "src/lab/jobs/job_manager.h"

namespace dissonance {

class Readiness {
 public:
  // No job is started before a worker is READY.
  explicit Readiness(JobManager& jobs) : jobs_(jobs) {
    jobs_.SetComputeReady(false);
  }

  // The health service of the public server; null before it goes away.
  void Attach(grpc::HealthCheckServiceInterface* health)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    health_ = health;
    Tell();
  }

  void SetWorkerReady(bool ready) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      const absl::MutexLock lock(&mutex_);
      worker_ready_ = ready;
      was_ready_ = was_ready_ || ready;
      Tell();
    }
    jobs_.SetComputeReady(ready);
  }

  // NOT_SERVING from now on.
  void BeginDrain() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    draining_ = true;
    Tell();
  }

  // Why it does not serve; empty while it does.
  std::string Trouble() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    if (draining_) return "draining";
    if (worker_ready_) return "";
    return was_ready_ ? "no worker" : "starting";
  }

 private:
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (health_ == nullptr) return;
    health_->SetServingStatus(worker_ready_ && !draining_);
  }

  JobManager& jobs_;
  mutable absl::Mutex mutex_;
  grpc::HealthCheckServiceInterface* health_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool worker_ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool was_ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_READINESS_H_
