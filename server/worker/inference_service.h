// The Inference service of a worker. Text calls are answered at once; Score
// and Generate run in the engine without holding a thread. Thread safe. Borrows
// registry and engine.
#ifndef DISSONANCE_SERVER_WORKER_INFERENCE_SERVICE_H_
#define DISSONANCE_SERVER_WORKER_INFERENCE_SERVICE_H_

#include "dissonance/v1/inference.grpc.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompt_text.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class InferenceService final : public v1::Inference::CallbackService {
 public:
  InferenceService(ModelRegistry& registry, Engine& engine,
                   const RequestLimits& limits)
      : registry_(registry), engine_(engine), limits_(limits) {}

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(
      grpc::CallbackServerContext* context,
      const v1::DetokenizeRequest* request,
      v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* RenderChat(
      grpc::CallbackServerContext* context,
      const v1::RenderChatRequest* request,
      v1::RenderChatResponse* response) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const v1::GenerateRequest* request) override;

 private:
  ModelRegistry& registry_;
  Engine& engine_;
  const RequestLimits limits_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_INFERENCE_SERVICE_H_
