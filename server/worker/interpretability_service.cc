#include "server/worker/interpretability_service.h"

#include <utility>

#include "server/worker/activations_call.h"
#include "server/worker/call_priority.h"
#include "server/worker/compare_call.h"
#include "server/worker/lens_call.h"
#include "server/worker/patch_call.h"
#include "server/worker/refused_stream.h"
#include "server/worker/stored_activations_call.h"

namespace dissonance {
namespace {

// Starts a stream, or ends it with what is wrong with its request.
template <typename Call, typename Response, typename Plan>
grpc::ServerWriteReactor<Response>* StartStream(
    Engine& engine, const grpc::CallbackServerContext& context,
    absl::StatusOr<Plan> plan) {
  if (!plan.ok()) return new RefusedStream<Response>(plan.status());
  auto* call = new Call(engine, *std::move(plan), PriorityOf(context));
  call->Start();
  return call;
}

Cancelled CancelledBy(grpc::CallbackServerContext* context) {
  return [context] { return context->IsCancelled(); };
}

}  // namespace

grpc::ServerWriteReactor<v1::StreamActivationsResponse>*
InterpretabilityService::StreamActivations(
    grpc::CallbackServerContext* context,
    const v1::StreamActivationsRequest* request) {
  absl::StatusOr<ActivationsPlan> plan = MakeActivationsPlan(
      *request, registry_, limits_, engine_.options(), CancelledBy(context));
  if (!plan.ok()) {
    return new RefusedStream<v1::StreamActivationsResponse>(plan.status());
  }
  if (store_ != nullptr) {
    if (auto kept = store_->Find(plan->digest)) {
      auto* call = new StoredActivationsCall(
          *store_, std::move(kept), *std::move(plan), engine_.options());
      call->Start();
      return call;
    }
  }
  auto* call = new ActivationsCall(engine_, *std::move(plan),
                                   PriorityOf(*context), store_);
  call->Start();
  return call;
}

grpc::ServerWriteReactor<v1::LogitLensResponse>*
InterpretabilityService::LogitLens(grpc::CallbackServerContext* context,
                                   const v1::LogitLensRequest* request) {
  return StartStream<LensCall, v1::LogitLensResponse>(
      engine_, *context,
      MakeLensPlan(*request, registry_, limits_, CancelledBy(context)));
}

grpc::ServerWriteReactor<v1::CompareVariantsResponse>*
InterpretabilityService::CompareVariants(
    grpc::CallbackServerContext* context,
    const v1::CompareVariantsRequest* request) {
  return StartStream<CompareCall, v1::CompareVariantsResponse>(
      engine_, *context,
      MakeComparePlan(*request, registry_, limits_, CancelledBy(context)));
}

grpc::ServerUnaryReactor* InterpretabilityService::Patch(
    grpc::CallbackServerContext* context, const v1::PatchRequest* request,
    v1::PatchResponse* response) {
  absl::StatusOr<PatchPlan> plan =
      MakePatchPlan(*request, registry_, limits_, CancelledBy(context));
  if (!plan.ok()) {
    grpc::ServerUnaryReactor* refused = context->DefaultReactor();
    refused->Finish(ToGrpc(plan.status()));
    return refused;
  }
  auto* call =
      new PatchCall(engine_, *std::move(plan), PriorityOf(*context), *response);
  call->Start();
  return call;
}

}  // namespace dissonance
