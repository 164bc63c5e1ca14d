// The Interpretability service of a worker. Everything runs in the engine; no
// thread waits for it. Weights that had left memory are read on the caller's.
// Thread safe. Borrows registry, engine and the store of activations; without
// one (null) everything is computed.
#ifndef DISSONANCE_SERVER_WORKER_INTERPRETABILITY_SERVICE_H_
#define DISSONANCE_SERVER_WORKER_INTERPRETABILITY_SERVICE_H_

#include "dissonance/v1/interpretability.grpc.pb.h"
#include "server/worker/activation_store.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompt_text.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class InterpretabilityService final
    : public v1::Interpretability::CallbackService {
 public:
  InterpretabilityService(ModelRegistry& registry, Engine& engine,
                          const RequestLimits& limits, ActivationStore* store)
      : registry_(registry), engine_(engine), limits_(limits), store_(store) {}

  grpc::ServerWriteReactor<v1::StreamActivationsResponse>* StreamActivations(
      grpc::CallbackServerContext* context,
      const v1::StreamActivationsRequest* request) override;
  grpc::ServerWriteReactor<v1::LogitLensResponse>* LogitLens(
      grpc::CallbackServerContext* context,
      const v1::LogitLensRequest* request) override;
  grpc::ServerWriteReactor<v1::CompareVariantsResponse>* CompareVariants(
      grpc::CallbackServerContext* context,
      const v1::CompareVariantsRequest* request) override;
  grpc::ServerUnaryReactor* Patch(grpc::CallbackServerContext* context,
                                  const v1::PatchRequest* request,
                                  v1::PatchResponse* response) override;

 private:
  ModelRegistry& registry_;
  Engine& engine_;
  const RequestLimits limits_;
  ActivationStore* const store_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_INTERPRETABILITY_SERVICE_H_
