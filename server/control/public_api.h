// The public gRPC server: all services on all listeners, behind the gate.
// Thread safe. Borrows its parts.
//
//   ASSIGN_OR_RETURN(auto api, PublicApi::Start(config, listeners, parts));
//   api->Open();                       // begins to answer
//   ...
//   api->Drain(absl::Seconds(20));     // on SIGTERM
#ifndef DISSONANCE_SERVER_CONTROL_PUBLIC_API_H_
#define DISSONANCE_SERVER_CONTROL_PUBLIC_API_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/auth.h"
#include "server/control/config.h"
#include "server/control/direction_resolver.h"
#include "server/control/housekeeper.h"
#include "server/control/job_maintenance.h"
#include "server/control/jobs_service.h"
#include "server/control/listeners.h"
#include "server/control/local_calls.h"
#include "server/control/model_catalog.h"
#include "server/control/open_calls.h"
#include "server/control/pipeline_jobs.h"
#include "server/control/quotas.h"
#include "server/control/readiness.h"
#include "server/control/records.h"
#include "server/control/rpc_log.h"
#include "server/control/worker_route.h"
#include "src/lab/jobs/job_manager.h"

namespace dissonance {

class PublicApi {
 public:
  struct Parts {
    Records& records;
    const Quotas& quotas;
    JobManager& jobs;
    PipelineJobs& stage_jobs;
    ModelCatalog& catalog;
    const WorkerRoute& route;
    Readiness& readiness;
    std::function<std::vector<v1::Worker>()> workers;
  };

  // Listens; every call is UNAVAILABLE until Open.
  static absl::StatusOr<std::unique_ptr<PublicApi>> Start(
      const Config& config, std::vector<Listener> listeners,
      const Parts& parts);
  // Drain(0).
  ~PublicApi();

  // From now on calls are answered. `readiness` tells the health service.
  void Open();

  // NOT_SERVING first; takes no new calls; running jobs and calls get `grace`
  // to reach their end or their next checkpoint; then the server is down.
  void Drain(absl::Duration grace);

  // For calls that came over HTTP: what is asked first, and the way on for
  // those that may pass, until Drain.
  AuthGate& gate() { return *gate_; }
  LocalCalls& local_calls() { return local_calls_; }

  // Calls in flight.
  int call_count() { return calls_.count(); }

 private:
  PublicApi(const Config& config, std::vector<Listener> listeners,
            const Parts& parts);
  absl::Status Listen(const Config& config);

  std::vector<Listener> listeners_;
  JobManager& jobs_;
  Readiness& readiness_;
  Records& records_;
  CallCount calls_;
  OpenCalls job_streams_;
  OpenCalls compute_streams_;
  JobMaintenance maintenance_;
  Housekeeper housekeeper_;
  const std::shared_ptr<AuthGate> gate_;
  const DirectionResolver directions_;
  JobsService jobs_service_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  LocalCalls local_calls_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_PUBLIC_API_H_
