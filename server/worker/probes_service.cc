#include "server/worker/probes_service.h"

#include <utility>

#include "server/worker/apply_probe_call.h"
#include "server/worker/call_priority.h"
#include "server/worker/fit_directions_call.h"
#include "server/worker/grpc_status.h"
#include "server/worker/refused_stream.h"
#include "server/worker/train_probes_call.h"

namespace dissonance {
namespace {

Cancelled CancelledBy(grpc::CallbackServerContext* context) {
  return [context] { return context->IsCancelled(); };
}

// Starts a call, or ends it with what is wrong with its request.
template <typename Call, typename Response, typename Plan>
grpc::ServerUnaryReactor* StartUnary(Engine& engine,
                                     grpc::CallbackServerContext* context,
                                     absl::StatusOr<Plan> plan,
                                     Response& response) {
  if (!plan.ok()) {
    grpc::ServerUnaryReactor* refused = context->DefaultReactor();
    refused->Finish(ToGrpc(plan.status()));
    return refused;
  }
  auto* call =
      new Call(engine, *std::move(plan), PriorityOf(*context), response);
  call->Start();
  return call;
}

}  // namespace

grpc::ServerWriteReactor<v1::TrainProbesResponse>* ProbesService::TrainProbes(
    grpc::CallbackServerContext* context,
    const v1::TrainProbesRequest* request) {
  absl::StatusOr<TrainProbesPlan> plan = MakeTrainProbesPlan(
      *request, registry_, limits_, budget_, CancelledBy(context));
  if (!plan.ok()) {
    return new RefusedStream<v1::TrainProbesResponse>(plan.status());
  }
  auto* call =
      new TrainProbesCall(engine_, *std::move(plan), PriorityOf(*context));
  call->Start();
  return call;
}

grpc::ServerUnaryReactor* ProbesService::FitDirections(
    grpc::CallbackServerContext* context,
    const v1::FitDirectionsRequest* request,
    v1::FitDirectionsResponse* response) {
  return StartUnary<FitDirectionsCall>(
      engine_, context,
      MakeFitDirectionsPlan(*request, registry_, limits_, budget_,
                            CancelledBy(context)),
      *response);
}

grpc::ServerUnaryReactor* ProbesService::ApplyProbe(
    grpc::CallbackServerContext* context, const v1::ApplyProbeRequest* request,
    v1::ApplyProbeResponse* response) {
  return StartUnary<ApplyProbeCall>(
      engine_, context,
      MakeApplyProbePlan(*request, registry_, limits_, CancelledBy(context)),
      *response);
}

}  // namespace dissonance
