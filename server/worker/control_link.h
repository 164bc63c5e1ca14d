// A worker's tie to its control plane: it registers once with the launch token
// and then beats on a thread of its own. When the lease is lost, or no beat
// got through for as long as a lease lasts, the worker must end.
//
//   ASSIGN_OR_RETURN(auto link,
//                    ControlLink::Register(target, credentials, request));
//   link->StartHeartbeats([&] { return vitals; },
//                         [](const absl::Status& why) { std::_Exit(1); });
#ifndef DISSONANCE_SERVER_WORKER_CONTROL_LINK_H_
#define DISSONANCE_SERVER_WORKER_CONTROL_LINK_H_

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
#include "dissonance/internal/v1/worker.grpc.pb.h"
#include "grpcpp/security/credentials.h"
#include "src/base/steady_wait.h"

namespace dissonance {

// What a heartbeat says.
struct WorkerVitals {
  int64_t step_count = 0;
  bool busy = false;
  int64_t resident_bytes = 0;
  std::vector<internal::v1::Metric> metrics = {};
  std::vector<std::string> models = {};  // whose weights are on the device
};

// Thread safe after StartHeartbeats.
class ControlLink {
 public:
  // Trades the token in `request` for a lease. PERMISSION_DENIED for a token
  // that is unknown or used; UNAVAILABLE if no control plane answers.
  static absl::StatusOr<std::unique_ptr<ControlLink>> Register(
      const std::string& target,
      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
      const internal::v1::RegisterWorkerRequest& request);
  // Ends the heartbeats.
  ~ControlLink();

  // `on_lost` runs at most once, on the heartbeats' thread.
  void StartHeartbeats(std::function<WorkerVitals()> vitals,
                       std::function<void(const absl::Status&)> on_lost);

 private:
  using Stub = internal::v1::WorkerRegistry::Stub;
  ControlLink(std::unique_ptr<Stub> stub,
              const internal::v1::RegisterWorkerResponse& lease);

  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Beat();

  const std::unique_ptr<Stub> stub_;
  const std::string lease_;
  const int64_t fencing_number_;
  const absl::Duration interval_;
  std::function<WorkerVitals()> vitals_;
  std::function<void(const absl::Status&)> on_lost_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_CONTROL_LINK_H_
