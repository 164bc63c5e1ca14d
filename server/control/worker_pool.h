// The workers with all that belongs to them: launcher, leases, the address at
// which they report, and their supervisors. As many run as are needed, between
// bounds: one more while jobs wait and all are busy, one less when it has been
// idle. Thread safe. Borrows route and catalog.
//
//   ASSIGN_OR_RETURN(auto workers, WorkerPool::Create(config, folder, parts));
//   workers->Start();
//   ...
//   workers->Stop();
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_POOL_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_POOL_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/config.h"
#include "server/control/data_folder.h"
#include "server/control/fencing_numbers.h"
#include "server/control/metrics_server.h"
#include "server/control/model_catalog.h"
#include "server/control/worker_leases.h"
#include "server/control/worker_route.h"
#include "server/control/worker_scaling.h"
#include "server/control/worker_supervisor.h"
#include "src/base/steady_wait.h"

namespace grpc {
class ChannelCredentials;
class Server;
class Service;
}  // namespace grpc

namespace dissonance {

struct WorkerMeetingPlace;

class WorkerPool {
 public:
  struct Parts {
    WorkerRoute& route;
    ModelCatalog& catalog;
    // Whether any worker serves; called when that may have changed. Must not
    // call the pool.
    std::function<void(bool)> on_ready;
    // Jobs that wait for their turn.
    std::function<int64_t()> queued_jobs;
  };

  // NOT_FOUND or FAILED_PRECONDITION if workers can't be launched here.
  static absl::StatusOr<std::unique_ptr<WorkerPool>> Create(
      const Config& config, const DataFolder& folder, const Parts& parts);
  // Stops.
  ~WorkerPool();

  void Start();
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // All of them, also those that do not run.
  std::vector<v1::Worker> Describe() const;
  // What those last said that run or are on their way.
  std::vector<WorkerFigures> Figures() const;

 private:
  // One worker.
  struct Seat {
    std::unique_ptr<WorkerLeases> leases;
    std::unique_ptr<WorkerSupervisor> supervisor;
    absl::Duration busy_at = absl::ZeroDuration();  // of the scaling thread
  };

  WorkerPool(const Config& config, const Parts& parts);
  absl::Status Prepare(const Config& config, const DataFolder& folder);
  // Serves the registry; returns the target at which workers find it.
  absl::StatusOr<std::string> Listen(const WorkerMeetingPlace& place);
  void AddSupervisor(
      const Config& config, const DataFolder& folder, size_t worker,
      const std::shared_ptr<grpc::ChannelCredentials>& credentials);
  void SetReady(size_t worker, bool ready) ABSL_LOCKS_EXCLUDED(mutex_);
  void Scale();
  void ScaleOnce();

  const Parts parts_;
  const ScalingOptions scaling_;
  std::unique_ptr<FencingNumbers> numbers_;
  std::unique_ptr<WorkerLauncher> launcher_;
  std::vector<Seat> seats_;
  std::unique_ptr<grpc::Service> registry_;
  std::unique_ptr<grpc::Server> server_;
  absl::Mutex mutex_;
  SteadyCondVar stops_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<bool> ready_ ABSL_GUARDED_BY(mutex_);
  std::thread scaling_thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_POOL_H_
