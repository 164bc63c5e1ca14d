// InterpClient over the workers that serve now: what jobs compute with, as
// background work. Thread safe. Borrows route and catalog.
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_COMPUTE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_COMPUTE_H_

#include "server/control/model_catalog.h"
#include "server/control/worker_route.h"
#include "src/lab/interp/interp_client.h"

namespace dissonance {

class WorkerCompute final : public InterpClient {
 public:
  WorkerCompute(const WorkerRoute& route, ModelCatalog& catalog)
      : route_(route), catalog_(catalog) {}

  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options) override;
  absl::StatusOr<v1::RenderChatResponse> RenderChat(
      const v1::RenderChatRequest& request,
      const CallOptions& options) override;
  absl::StatusOr<v1::TokenizeResponse> Tokenize(
      const v1::TokenizeRequest& request, const CallOptions& options) override;
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override;
  absl::Status CheckVariant(const v1::Variant& variant) override;
  int64_t WeightBytes(const std::string& model) override;
  absl::Status StreamActivations(
      const v1::StreamActivationsRequest& request, const CallOptions& options,
      MessageTaker<v1::StreamActivationsResponse> take) override;
  absl::Status LogitLens(const v1::LogitLensRequest& request,
                         const CallOptions& options,
                         MessageTaker<v1::LogitLensResponse> take) override;
  absl::StatusOr<v1::PatchResponse> Patch(const v1::PatchRequest& request,
                                          const CallOptions& options) override;
  absl::Status TrainProbes(const v1::TrainProbesRequest& request,
                           const CallOptions& options,
                           MessageTaker<v1::TrainProbesResponse> take) override;
  absl::StatusOr<v1::FitDirectionsResponse> FitDirections(
      const v1::FitDirectionsRequest& request,
      const CallOptions& options) override;
  absl::Status Generate(const v1::GenerateRequest& request,
                        const CallOptions& options,
                        MessageTaker<v1::GenerateResponse> take) override;

 private:
  const WorkerRoute& route_;
  ModelCatalog& catalog_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_COMPUTE_H_
