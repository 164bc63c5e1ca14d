#include "server/control/worker_registry_service.h"

#include <utility>

#include "dissonance/internal/v1/worker.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

class WorkerRegistryService final
    : public internal::v1::WorkerRegistry::CallbackService {
 public:
  WorkerRegistryService(WorkerLeases& leases, std::function<void()> on_register)
      : leases_(leases), on_register_(std::move(on_register)) {}

  grpc::ServerUnaryReactor* RegisterWorker(
      Context* context, const internal::v1::RegisterWorkerRequest* request,
      internal::v1::RegisterWorkerResponse* response) override {
    const absl::StatusOr<Lease> lease = leases_.Register(
        request->launch_token(), {.address = request->address(),
                                  .pid = request->pid(),
                                  .device = request->device(),
                                  .thread_count = request->thread_count()});
    if (lease.ok()) {
      response->set_lease(lease->id);
      response->set_fencing_number(lease->fencing_number);
      *response->mutable_heartbeat_interval() =
          google::protobuf::util::TimeUtil::NanosecondsToDuration(
              absl::ToInt64Nanoseconds(leases_.heartbeat_interval()));
      on_register_();
    }
    return Finish(context, lease.status());
  }

  grpc::ServerUnaryReactor* Heartbeat(
      Context* context, const internal::v1::HeartbeatRequest* request,
      internal::v1::HeartbeatResponse* /*response*/) override {
    return Finish(context,
                  leases_.Beat(request->lease(), request->fencing_number(),
                               {.step_count = request->engine_step_count(),
                                .busy = request->engine_busy(),
                                .resident_bytes = request->resident_bytes(),
                                .metrics = {request->metrics().begin(),
                                            request->metrics().end()}}));
  }

 private:
  static grpc::ServerUnaryReactor* Finish(Context* context,
                                          const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  WorkerLeases& leases_;
  const std::function<void()> on_register_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerRegistryService(
    WorkerLeases& leases, std::function<void()> on_register) {
  return std::make_unique<WorkerRegistryService>(leases,
                                                 std::move(on_register));
}

}  // namespace dissonance
