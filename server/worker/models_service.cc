#include "server/worker/models_service.h"

#include "server/worker/grpc_status.h"
#include "server/worker/model_messages.h"
#include "server/worker/variants.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/self_check.h"

namespace dissonance {
namespace {

// The answer of a call that returns one model or adapter.
template <typename Resident, typename Message>
grpc::Status Answer(const absl::StatusOr<Resident>& resident,
                    Message* message) {
  if (!resident.ok()) return ToGrpc(resident.status());
  *message = ToMessage(*resident);
  return grpc::Status::OK;
}

}  // namespace

grpc::Status ModelsService::ListModels(grpc::ServerContext* /*context*/,
                                       const v1::ListModelsRequest* /*request*/,
                                       v1::ListModelsResponse* response) {
  for (const ResidentModel& model : registry_.ListModels()) {
    *response->add_models() = ToMessage(model);
  }
  return grpc::Status::OK;
}

grpc::Status ModelsService::GetModel(grpc::ServerContext* /*context*/,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) {
  return Answer(registry_.GetModel(request->name()), response->mutable_model());
}

grpc::Status ModelsService::LoadModel(grpc::ServerContext* /*context*/,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) {
  const auto dtype = FromMessage(request->dtype());
  if (!dtype.ok()) return ToGrpc(dtype.status());
  return Answer(registry_.LoadModel(request->name(), request->path(), *dtype,
                                    request->pinned()),
                response->mutable_model());
}

grpc::Status ModelsService::UnloadModel(grpc::ServerContext* /*context*/,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* /*response*/) {
  const absl::Status unloaded = registry_.UnloadModel(request->name());
  // Keys and values of its prompts are of no use any more.
  if (unloaded.ok()) engine_.ForgetPrefixes();
  return ToGrpc(unloaded);
}

grpc::Status ModelsService::RegisterAdapter(
    grpc::ServerContext* /*context*/, const v1::RegisterAdapterRequest* request,
    v1::RegisterAdapterResponse* response) {
  return Answer(registry_.RegisterAdapter(request->name(), request->path()),
                response->mutable_adapter());
}

grpc::Status ModelsService::ListAdapters(grpc::ServerContext* /*context*/,
                                         const v1::ListAdaptersRequest* request,
                                         v1::ListAdaptersResponse* response) {
  for (const ResidentAdapter& a : registry_.ListAdapters(request->parent())) {
    *response->add_adapters() = ToMessage(a);
  }
  return grpc::Status::OK;
}

grpc::Status ModelsService::GetAdapter(grpc::ServerContext* /*context*/,
                                       const v1::GetAdapterRequest* request,
                                       v1::GetAdapterResponse* response) {
  return Answer(registry_.GetAdapter(request->name()),
                response->mutable_adapter());
}

grpc::Status ModelsService::LoadAdapter(grpc::ServerContext* /*context*/,
                                        const v1::LoadAdapterRequest* request,
                                        v1::LoadAdapterResponse* response) {
  return Answer(registry_.GetAdapter(request->name()),
                response->mutable_adapter());
}

grpc::Status ModelsService::UnloadAdapter(
    grpc::ServerContext* /*context*/, const v1::UnloadAdapterRequest* request,
    v1::UnloadAdapterResponse* response) {
  // The control plane knows the rest.
  response->mutable_adapter()->set_name(request->name());
  return ToGrpc(registry_.UnloadAdapter(request->name()));
}

grpc::Status ModelsService::DeleteAdapter(
    grpc::ServerContext* /*context*/, const v1::DeleteAdapterRequest* request,
    v1::DeleteAdapterResponse* /*response*/) {
  return ToGrpc(registry_.UnloadAdapter(request->name()));
}

grpc::Status ModelsService::SelfCheck(grpc::ServerContext* context,
                                      const v1::SelfCheckRequest* request,
                                      v1::SelfCheckResponse* response) {
  const absl::StatusOr<ResidentModel> model =
      registry_.GetModel(request->name());
  if (!model.ok()) return ToGrpc(model.status());
  const absl::StatusOr<std::vector<InvariantResult>> results =
      CheckModel(model->model, model->path, engine_.options(), request->seed(),
                 [context] { return context->IsCancelled(); });
  if (!results.ok()) return ToGrpc(results.status());
  for (const InvariantResult& result : *results) {
    v1::Invariant& out = *response->add_invariants();
    out.set_name(result.name);
    out.set_description(result.description);
    out.set_passed(result.passed());
    out.set_difference(result.difference);
    out.set_limit(result.limit);
    out.set_compared_count(result.compared_count);
    out.set_message(result.message);
  }
  *response->mutable_provenance() =
      ProvenanceOf({.model = *model}, MessageDigest(*request), request->seed(),
                   engine_.options());
  return grpc::Status::OK;
}

}  // namespace dissonance
