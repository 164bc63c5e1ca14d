// The Probes service of a worker, but for ListProbes, which is the control
// plane's. Everything runs in the engine; no thread waits for it. Thread safe.
// Borrows registry, engine and the budget that trainings share.
#ifndef DISSONANCE_SERVER_WORKER_PROBES_SERVICE_H_
#define DISSONANCE_SERVER_WORKER_PROBES_SERVICE_H_

#include "dissonance/v1/probes.grpc.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompt_text.h"
#include "server/worker/training_budget.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class ProbesService final : public v1::Probes::CallbackService {
 public:
  ProbesService(ModelRegistry& registry, Engine& engine,
                const RequestLimits& limits, TrainingBudget& budget)
      : registry_(registry),
        engine_(engine),
        limits_(limits),
        budget_(budget) {}

  grpc::ServerWriteReactor<v1::TrainProbesResponse>* TrainProbes(
      grpc::CallbackServerContext* context,
      const v1::TrainProbesRequest* request) override;
  grpc::ServerUnaryReactor* FitDirections(
      grpc::CallbackServerContext* context,
      const v1::FitDirectionsRequest* request,
      v1::FitDirectionsResponse* response) override;
  grpc::ServerUnaryReactor* ApplyProbe(
      grpc::CallbackServerContext* context,
      const v1::ApplyProbeRequest* request,
      v1::ApplyProbeResponse* response) override;

 private:
  ModelRegistry& registry_;
  Engine& engine_;
  const RequestLimits limits_;
  TrainingBudget& budget_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PROBES_SERVICE_H_
