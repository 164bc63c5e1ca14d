#include "server/control/worker_compute.h"

#include "src/base/status_macros.h"

namespace dissonance {

absl::StatusOr<v1::ScoreResponse> WorkerCompute::Score(
    const v1::ScoreRequest& request, const CallOptions& options) {
  v1::ScoreResponse response;
  RETURN_IF_ERROR(CallWorker(route_.channel(), "/dissonance.v1.Inference/Score",
                             request, response, options));
  return response;
}

absl::StatusOr<v1::RenderChatResponse> WorkerCompute::RenderChat(
    const v1::RenderChatRequest& request, const CallOptions& options) {
  v1::RenderChatResponse response;
  RETURN_IF_ERROR(CallWorker(route_.channel(),
                             "/dissonance.v1.Inference/RenderChat", request,
                             response, options));
  return response;
}

absl::StatusOr<v1::TokenizeResponse> WorkerCompute::Tokenize(
    const v1::TokenizeRequest& request, const CallOptions& options) {
  v1::TokenizeResponse response;
  RETURN_IF_ERROR(CallWorker(route_.channel(),
                             "/dissonance.v1.Inference/Tokenize", request,
                             response, options));
  return response;
}

absl::StatusOr<bool> WorkerCompute::HasChatTemplate(const std::string& model) {
  ASSIGN_OR_RETURN(const v1::Model found, catalog_.GetModel(model));
  return found.has_chat_template();
}

absl::Status WorkerCompute::CheckVariant(const v1::Variant& variant) {
  return catalog_.CheckVariant(variant);
}

}  // namespace dissonance
