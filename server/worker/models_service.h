// The Models service of a worker: what is resident now. It keeps no records:
// an adapter that is unloaded here is forgotten here. Blocking calls, one
// thread each; loading takes seconds. Thread safe. Borrows registry and engine.
#ifndef DISSONANCE_SERVER_WORKER_MODELS_SERVICE_H_
#define DISSONANCE_SERVER_WORKER_MODELS_SERVICE_H_

#include "dissonance/v1/models.grpc.pb.h"
#include "server/worker/model_registry.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class ModelsService final : public v1::Models::Service {
 public:
  ModelsService(ModelRegistry& registry, Engine& engine)
      : registry_(registry), engine_(engine) {}

  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse*) override;
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse*) override;
  grpc::Status LoadModel(grpc::ServerContext*, const v1::LoadModelRequest*,
                         v1::LoadModelResponse*) override;
  grpc::Status UnloadModel(grpc::ServerContext*, const v1::UnloadModelRequest*,
                           v1::UnloadModelResponse*) override;
  grpc::Status RegisterAdapter(grpc::ServerContext*,
                               const v1::RegisterAdapterRequest*,
                               v1::RegisterAdapterResponse*) override;
  grpc::Status ListAdapters(grpc::ServerContext*,
                            const v1::ListAdaptersRequest*,
                            v1::ListAdaptersResponse*) override;
  grpc::Status GetAdapter(grpc::ServerContext*, const v1::GetAdapterRequest*,
                          v1::GetAdapterResponse*) override;
  // NOT_FOUND if it was never registered here, or unloaded since.
  grpc::Status LoadAdapter(grpc::ServerContext*, const v1::LoadAdapterRequest*,
                           v1::LoadAdapterResponse*) override;
  grpc::Status UnloadAdapter(grpc::ServerContext*,
                             const v1::UnloadAdapterRequest*,
                             v1::UnloadAdapterResponse*) override;
  grpc::Status DeleteAdapter(grpc::ServerContext*,
                             const v1::DeleteAdapterRequest*,
                             v1::DeleteAdapterResponse*) override;
  grpc::Status SelfCheck(grpc::ServerContext*, const v1::SelfCheckRequest*,
                         v1::SelfCheckResponse*) override;

 private:
  ModelRegistry& registry_;
  Engine& engine_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_MODELS_SERVICE_H_
