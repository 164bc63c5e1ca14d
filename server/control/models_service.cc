#include "server/control/models_service.h"

#include <utility>

#include "dissonance/v1/models.grpc.pb.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::ServerContext;

// Moves a result into the response's field, or gives its error.
template <typename T>
grpc::Status Answer(absl::StatusOr<T> result, T* field) {
  if (!result.ok()) return ToGrpc(result.status());
  *field = *std::move(result);
  return grpc::Status::OK;
}

// The call ends with its client's, and with the server.
CallOptions UntilCancelled(const Context& context) {
  return {.cancelled = [&context] { return context.IsCancelled(); }};
}

class ModelsService final : public v1::Models::Service {
 public:
  ModelsService(ModelCatalog& catalog, TokenStore& tokens)
      : catalog_(catalog), tokens_(tokens) {}

  grpc::Status ListModels(Context* context,
                          const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.ListModels(*viewer, *request), response);
  }
  grpc::Status GetModel(Context* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.GetModel(*viewer, request->name()),
                  response->mutable_model());
  }
  grpc::Status LoadModel(Context* context, const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(
        catalog_.LoadModel(*viewer, *request, UntilCancelled(*context)),
        response->mutable_model());
  }
  grpc::Status UnloadModel(Context* context,
                           const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* /*response*/) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return ToGrpc(catalog_.UnloadModel(*viewer, request->name()));
  }
  grpc::Status RegisterAdapter(Context* context,
                               const v1::RegisterAdapterRequest* request,
                               v1::RegisterAdapterResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(
        catalog_.RegisterAdapter(*viewer, *request, UntilCancelled(*context)),
        response->mutable_adapter());
  }
  grpc::Status ListAdapters(Context* context,
                            const v1::ListAdaptersRequest* request,
                            v1::ListAdaptersResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.ListAdapters(*viewer, *request), response);
  }
  grpc::Status GetAdapter(Context* context,
                          const v1::GetAdapterRequest* request,
                          v1::GetAdapterResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.GetAdapter(*viewer, request->name()),
                  response->mutable_adapter());
  }
  grpc::Status LoadAdapter(Context* context,
                           const v1::LoadAdapterRequest* request,
                           v1::LoadAdapterResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.LoadAdapter(*viewer, request->name(),
                                       UntilCancelled(*context)),
                  response->mutable_adapter());
  }
  grpc::Status UnloadAdapter(Context* context,
                             const v1::UnloadAdapterRequest* request,
                             v1::UnloadAdapterResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.UnloadAdapter(*viewer, request->name()),
                  response->mutable_adapter());
  }
  grpc::Status DeleteAdapter(Context* context,
                             const v1::DeleteAdapterRequest* request,
                             v1::DeleteAdapterResponse* /*response*/) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return ToGrpc(catalog_.DeleteAdapter(*viewer, request->name()));
  }
  grpc::Status UpdateModel(Context* context,
                           const v1::UpdateModelRequest* request,
                           v1::UpdateModelResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.UpdateModel(*viewer, *request),
                  response->mutable_model());
  }
  grpc::Status UpdateAdapter(Context* context,
                             const v1::UpdateAdapterRequest* request,
                             v1::UpdateAdapterResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(catalog_.UpdateAdapter(*viewer, *request),
                  response->mutable_adapter());
  }
  grpc::Status SelfCheck(Context* context, const v1::SelfCheckRequest* request,
                         v1::SelfCheckResponse* response) override {
    const absl::StatusOr<Viewer> viewer = ViewerOfCall(*context);
    if (!viewer.ok()) return ToGrpc(viewer.status());
    return Answer(
        catalog_.SelfCheck(*viewer, *request, UntilCancelled(*context)),
        response);
  }

 private:
  absl::StatusOr<Viewer> ViewerOfCall(const Context& context) {
    ASSIGN_OR_RETURN(const Principal caller, CallerOf(context, tokens_));
    return ViewerOf(caller);
  }

  ModelCatalog& catalog_;
  TokenStore& tokens_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelsService(ModelCatalog& catalog,
                                                 TokenStore& tokens) {
  return std::make_unique<ModelsService>(catalog, tokens);
}

}  // namespace dissonance
