#include "server/control/worker_compute.h"

#include <string>

#include "src/base/status_macros.h"

namespace dissonance {
namespace {

template <typename Response, typename Request>
absl::StatusOr<Response> CallInference(const WorkerRoute& route,
                                       const std::string& method,
                                       const Request& request,
                                       const CallOptions& options) {
  Response response;
  RETURN_IF_ERROR(CallWorker(route.channel(),
                             "/dissonance.v1.Inference/" + method, request,
                             response, options, CallPriority::kJob));
  return response;
}

}  // namespace

absl::StatusOr<v1::ScoreResponse> WorkerCompute::Score(
    const v1::ScoreRequest& request, const CallOptions& options) {
  const DeviceMeter::Call call(meter_);
  absl::StatusOr<v1::ScoreResponse> response =
      CallInference<v1::ScoreResponse>(route_, "Score", request, options);
  if (options.spend != nullptr) {
    options.spend->Add(call.Seconds(),
                       response.ok() ? response->computed_token_count() : 0);
  }
  return response;
}

absl::StatusOr<v1::RenderChatResponse> WorkerCompute::RenderChat(
    const v1::RenderChatRequest& request, const CallOptions& options) {
  return CallInference<v1::RenderChatResponse>(route_, "RenderChat", request,
                                               options);
}

absl::StatusOr<v1::TokenizeResponse> WorkerCompute::Tokenize(
    const v1::TokenizeRequest& request, const CallOptions& options) {
  return CallInference<v1::TokenizeResponse>(route_, "Tokenize", request,
                                             options);
}

absl::StatusOr<v1::Model> WorkerCompute::GetModel(const std::string& name) {
  // Whoever made the job saw it then.
  return catalog_.GetModel({.sees_all = true}, name);
}

int64_t WorkerCompute::WeightBytes(const std::string& model) {
  return catalog_.WeightBytes(model);
}

absl::Status WorkerCompute::CheckVariant(const v1::Variant& variant) {
  return catalog_.CheckVariant(variant);
}

}  // namespace dissonance
