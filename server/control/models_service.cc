#include "server/control/models_service.h"

#include <utility>

#include "dissonance/v1/models.grpc.pb.h"
#include "server/control/grpc_status.h"

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
  explicit ModelsService(ModelCatalog& catalog) : catalog_(catalog) {}

  grpc::Status ListModels(Context* /*context*/,
                          const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    return Answer(catalog_.ListModels(*request), response);
  }
  grpc::Status GetModel(Context* /*context*/,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    return Answer(catalog_.GetModel(request->name()),
                  response->mutable_model());
  }
  grpc::Status LoadModel(Context* context, const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override {
    return Answer(catalog_.LoadModel(*request, UntilCancelled(*context)),
                  response->mutable_model());
  }
  grpc::Status UnloadModel(Context* /*context*/,
                           const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* /*response*/) override {
    return ToGrpc(catalog_.UnloadModel(request->name()));
  }
  grpc::Status RegisterAdapter(Context* context,
                               const v1::RegisterAdapterRequest* request,
                               v1::RegisterAdapterResponse* response) override {
    return Answer(catalog_.RegisterAdapter(*request, UntilCancelled(*context)),
                  response->mutable_adapter());
  }
  grpc::Status ListAdapters(Context* /*context*/,
                            const v1::ListAdaptersRequest* request,
                            v1::ListAdaptersResponse* response) override {
    return Answer(catalog_.ListAdapters(*request), response);
  }
  grpc::Status GetAdapter(Context* /*context*/,
                          const v1::GetAdapterRequest* request,
                          v1::GetAdapterResponse* response) override {
    return Answer(catalog_.GetAdapter(request->name()),
                  response->mutable_adapter());
  }
  grpc::Status LoadAdapter(Context* context,
                           const v1::LoadAdapterRequest* request,
                           v1::LoadAdapterResponse* response) override {
    return Answer(
        catalog_.LoadAdapter(request->name(), UntilCancelled(*context)),
        response->mutable_adapter());
  }
  grpc::Status UnloadAdapter(Context* /*context*/,
                             const v1::UnloadAdapterRequest* request,
                             v1::UnloadAdapterResponse* response) override {
    return Answer(catalog_.UnloadAdapter(request->name()),
                  response->mutable_adapter());
  }
  grpc::Status DeleteAdapter(Context* /*context*/,
                             const v1::DeleteAdapterRequest* request,
                             v1::DeleteAdapterResponse* /*response*/) override {
    return ToGrpc(catalog_.DeleteAdapter(request->name()));
  }
  grpc::Status SelfCheck(Context* context, const v1::SelfCheckRequest* request,
                         v1::SelfCheckResponse* response) override {
    return Answer(catalog_.SelfCheck(*request, UntilCancelled(*context)),
                  response);
  }

 private:
  ModelCatalog& catalog_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelsService(ModelCatalog& catalog) {
  return std::make_unique<ModelsService>(catalog);
}

}  // namespace dissonance
