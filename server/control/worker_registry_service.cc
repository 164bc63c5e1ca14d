#include "server/control/worker_registry_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "dissonance/internal/v1/worker.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

using Context = grpc::CallbackServerContext;

class WorkerRegistryService final
    : public internal::v1::WorkerRegistry::CallbackService {
 public:
  explicit WorkerRegistryService(std::vector<RegistrySeat> seats)
      : seats_(std::move(seats)) {}

  grpc::ServerUnaryReactor* RegisterWorker(
      Context* context, const internal::v1::RegisterWorkerRequest* request,
      internal::v1::RegisterWorkerResponse* response) override {
    const WorkerIdentity identity = {.address = request->address(),
                                     .pid = request->pid(),
                                     .device = request->device(),
                                     .thread_count = request->thread_count(),
                                     .restart_count = request->restart_count()};
    absl::Status refused;
    for (const RegistrySeat& seat : seats_) {
      const absl::StatusOr<Lease> lease =
          seat.leases->Register(request->launch_token(), identity);
      if (lease.ok()) {
        response->set_lease(lease->id);
        response->set_fencing_number(lease->fencing_number);
        *response->mutable_heartbeat_interval() =
            TimeUtil::NanosecondsToDuration(
                absl::ToInt64Nanoseconds(seat.leases->heartbeat_interval()));
        seat.on_register();
        return Finish(context, absl::OkStatus());
      }
      refused = lease.status();
      if (!absl::IsPermissionDenied(refused)) break;
    }
    return Finish(context, refused);
  }

  grpc::ServerUnaryReactor* Heartbeat(
      Context* context, const internal::v1::HeartbeatRequest* request,
      internal::v1::HeartbeatResponse* /*response*/) override {
    const WorkerReport report = {
        .step_count = request->engine_step_count(),
        .busy = request->engine_busy(),
        .resident_bytes = request->resident_bytes(),
        .metrics = {request->metrics().begin(), request->metrics().end()},
        .models = {request->resident_models().begin(),
                   request->resident_models().end()}};
    for (const RegistrySeat& seat : seats_) {
      if (!seat.leases->Holds(request->lease())) continue;
      const absl::Status taken = seat.leases->Beat(
          request->lease(), request->fencing_number(), report);
      if (taken.ok()) seat.on_report(report);
      return Finish(context, taken);
    }
    return Finish(context,
                  absl::FailedPreconditionError(absl::StrCat(
                      "the lease with fencing number ",
                      request->fencing_number(), " is no longer held")));
  }

 private:
  static grpc::ServerUnaryReactor* Finish(Context* context,
                                          const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  const std::vector<RegistrySeat> seats_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerRegistryService(
    std::vector<RegistrySeat> seats) {
  return std::make_unique<WorkerRegistryService>(std::move(seats));
}

}  // namespace dissonance
