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
#include "server/control/jobs_service.h"
#include "server/control/listeners.h"
#include "server/control/model_catalog.h"
#include "server/control/readiness.h"
#include "server/control/rpc_log.h"
#include "server/control/worker_route.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

class PublicApi {
 public:
  struct Parts {
    TokenStore& tokens;
    JobManager& jobs;
    ArtifactStore& artifacts;
    ArtifactUploads& uploads;
    ModelCatalog& catalog;
    const WorkerRoute& route;
    Readiness& readiness;
    std::function<v1::Worker()> worker;
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

 private:
  PublicApi(const Config& config, std::vector<Listener> listeners,
            const Parts& parts);
  absl::Status Listen(const Config& config);

  std::vector<Listener> listeners_;
  JobManager& jobs_;
  Readiness& readiness_;
  CallCount calls_;
  const std::shared_ptr<AuthGate> gate_;
  JobsService jobs_service_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_PUBLIC_API_H_
