// The worker on this machine with all that belongs to it: leases, the socket
// at which it reports, and its supervisor. Thread safe. Borrows route and
// catalog.
//
//   ASSIGN_OR_RETURN(auto worker, LocalWorker::Create(config, folder, route,
//                                                     catalog, on_ready));
//   worker->Start();
//   ...
//   worker->Stop();
#ifndef DISSONANCE_SERVER_CONTROL_LOCAL_WORKER_H_
#define DISSONANCE_SERVER_CONTROL_LOCAL_WORKER_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/config.h"
#include "server/control/data_folder.h"
#include "server/control/model_catalog.h"
#include "server/control/worker_leases.h"
#include "server/control/worker_route.h"
#include "server/control/worker_supervisor.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace dissonance {

class LocalWorker {
 public:
  // `on_ready` as WorkerSupervisor says.
  static absl::StatusOr<std::unique_ptr<LocalWorker>> Create(
      const Config& config, const DataFolder& folder, WorkerRoute& route,
      ModelCatalog& catalog, std::function<void(bool)> on_ready);
  // Stops.
  ~LocalWorker();

  void Start() { supervisor_.Start(); }
  void Stop();
  v1::Worker Describe() const { return supervisor_.Describe(); }
  // What it last said.
  WorkerReport last_report() const { return leases_.last_report(); }

 private:
  LocalWorker(const Config& config, const DataFolder& folder,
              int64_t last_fencing_number, WorkerRoute& route,
              ModelCatalog& catalog, std::function<void(bool)> on_ready);

  WorkerLeases leases_;
  WorkerSupervisor supervisor_;
  std::unique_ptr<grpc::Service> registry_service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LOCAL_WORKER_H_
