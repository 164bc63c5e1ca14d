#include "server/control/worker_compute.h"

#include <string>

#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "grpcpp/channel.h"
#include "server/control/grpc_status.h"
#include "server/control/worker_stream.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

template <typename Response, typename Request>
absl::StatusOr<Response> Call(const WorkerChannel& worker,
                              const std::string& method, const Request& request,
                              const CallOptions& options) {
  Response response;
  RETURN_IF_ERROR(CallWorker(worker, "/dissonance.v1." + method, request,
                             response, options, CallPriority::kJob));
  return response;
}

// A call on the device, charged from its beginning to its end.
class Charge {
 public:
  Charge(const WorkerChoice& worker, const CallOptions& options)
      : spend_(options.spend), call_(*worker.meter) {}
  ~Charge() {
    if (spend_ != nullptr) spend_->Add(call_.Seconds(), token_count_);
  }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

  void AddTokens(int64_t count) { token_count_ += count; }

 private:
  DeviceSpend* const spend_;
  const DeviceMeter::Call call_;
  int64_t token_count_ = 0;
};

}  // namespace

absl::StatusOr<v1::ScoreResponse> WorkerCompute::Score(
    const v1::ScoreRequest& request, const CallOptions& options) {
  const WorkerChoice worker = route_.For(request);
  Charge charge(worker, options);
  ASSIGN_OR_RETURN(v1::ScoreResponse response,
                   Call<v1::ScoreResponse>(worker.channel, "Inference/Score",
                                           request, options));
  charge.AddTokens(response.computed_token_count());
  return response;
}

absl::StatusOr<v1::RenderChatResponse> WorkerCompute::RenderChat(
    const v1::RenderChatRequest& request, const CallOptions& options) {
  return Call<v1::RenderChatResponse>(route_.For(request).channel,
                                      "Inference/RenderChat", request, options);
}

absl::StatusOr<v1::TokenizeResponse> WorkerCompute::Tokenize(
    const v1::TokenizeRequest& request, const CallOptions& options) {
  return Call<v1::TokenizeResponse>(route_.For(request).channel,
                                    "Inference/Tokenize", request, options);
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

absl::StatusOr<v1::PatchResponse> WorkerCompute::Patch(
    const v1::PatchRequest& request, const CallOptions& options) {
  const WorkerChoice worker = route_.For(request);
  const Charge charge(worker, options);
  return Call<v1::PatchResponse>(worker.channel, "Interpretability/Patch",
                                 request, options);
}

absl::StatusOr<v1::FitDirectionsResponse> WorkerCompute::FitDirections(
    const v1::FitDirectionsRequest& request, const CallOptions& options) {
  const WorkerChoice worker = route_.For(request);
  const Charge charge(worker, options);
  return Call<v1::FitDirectionsResponse>(worker.channel, "Probes/FitDirections",
                                         request, options);
}

absl::Status WorkerCompute::StreamActivations(
    const v1::StreamActivationsRequest& request, const CallOptions& options,
    MessageTaker<v1::StreamActivationsResponse> take) {
  const WorkerChoice worker = route_.For(request);
  if (worker.channel == nullptr) return WorkerUnavailable();
  const auto stub = v1::Interpretability::NewStub(worker.channel);
  const Charge charge(worker, options);
  return ReadFromWorker<v1::StreamActivationsResponse>(
      options,
      [&](grpc::ClientContext* context, auto* reactor) {
        stub->async()->StreamActivations(context, &request, reactor);
      },
      take);
}

absl::Status WorkerCompute::LogitLens(
    const v1::LogitLensRequest& request, const CallOptions& options,
    MessageTaker<v1::LogitLensResponse> take) {
  const WorkerChoice worker = route_.For(request);
  if (worker.channel == nullptr) return WorkerUnavailable();
  const auto stub = v1::Interpretability::NewStub(worker.channel);
  const Charge charge(worker, options);
  return ReadFromWorker<v1::LogitLensResponse>(
      options,
      [&](grpc::ClientContext* context, auto* reactor) {
        stub->async()->LogitLens(context, &request, reactor);
      },
      take);
}

absl::Status WorkerCompute::TrainProbes(
    const v1::TrainProbesRequest& request, const CallOptions& options,
    MessageTaker<v1::TrainProbesResponse> take) {
  const WorkerChoice worker = route_.For(request);
  if (worker.channel == nullptr) return WorkerUnavailable();
  const auto stub = v1::Probes::NewStub(worker.channel);
  const Charge charge(worker, options);
  return ReadFromWorker<v1::TrainProbesResponse>(
      options,
      [&](grpc::ClientContext* context, auto* reactor) {
        stub->async()->TrainProbes(context, &request, reactor);
      },
      take);
}

absl::Status WorkerCompute::Generate(const v1::GenerateRequest& request,
                                     const CallOptions& options,
                                     MessageTaker<v1::GenerateResponse> take) {
  const WorkerChoice worker = route_.For(request);
  if (worker.channel == nullptr) return WorkerUnavailable();
  const auto stub = v1::Inference::NewStub(worker.channel);
  Charge charge(worker, options);
  return ReadFromWorker<v1::GenerateResponse>(
      options,
      [&](grpc::ClientContext* context, auto* reactor) {
        stub->async()->Generate(context, &request, reactor);
      },
      [&](const v1::GenerateResponse& message) {
        const v1::GenerateSummary& summary = message.summary();
        charge.AddTokens(summary.prompt_token_count() +
                         summary.generated_token_count());
        return take(message);
      });
}

}  // namespace dissonance
