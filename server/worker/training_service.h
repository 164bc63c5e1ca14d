// The Training service of a worker, for its control plane. Trainings run in the
// engine, behind whoever waits for an answer. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_TRAINING_SERVICE_H_
#define DISSONANCE_SERVER_WORKER_TRAINING_SERVICE_H_

#include <cstdint>
#include <string>

#include "dissonance/internal/v1/training.grpc.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/peak_memory.h"
#include "server/worker/train_run.h"
#include "server/worker/training_budget.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class TrainingService final : public internal::v1::Training::CallbackService {
 public:
  struct Options {
    int64_t limit_bytes = 0;     // see TrainingBudget
    std::string scratch_folder;  // for files of snapshots on their way
  };

  // Borrows registry and engine.
  TrainingService(ModelRegistry& registry, Engine& engine, Options options);

  grpc::ServerBidiReactor<internal::v1::TrainRequest,
                          internal::v1::TrainResponse>*
  Train(grpc::CallbackServerContext* context) override;

  const TrainingCounts& counts() const { return counts_; }
  // What trainings take their memory from, for whoever shares it.
  TrainingBudget& budget() { return budget_; }

 private:
  ModelRegistry& registry_;
  Engine& engine_;
  const Options options_;
  TrainingBudget budget_;
  TrainingCounts counts_;
  PeakMemory peaks_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAINING_SERVICE_H_
