// What a Train call sends before its training begins: checked, in order, within
// limits, turned into tokens as it comes; and the training made of it. Used by
// one thread at a time.
//
//   TrainIntake intake(registry, engine_options, scratch_folder);
//   while (!intake.is_complete()) {
//     RETURN_IF_ERROR(intake.Take(message, cancelled));
//   }
//   ASSIGN_OR_RETURN(PreparedTraining training, intake.Prepare(budget));
#ifndef DISSONANCE_SERVER_WORKER_TRAIN_INTAKE_H_
#define DISSONANCE_SERVER_WORKER_TRAIN_INTAKE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/internal/v1/training.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/scratch_path.h"
#include "server/worker/training_budget.h"
#include "server/worker/training_documents.h"
#include "src/base/file.h"
#include "src/compute/engine/engine_options.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/lora/lora_shape.h"
#include "src/compute/train/trainer.h"

namespace dissonance {

// Of one call.
inline constexpr int64_t kMostDocumentBytes = int64_t{256} << 20;
inline constexpr int64_t kMostDocuments = 1'000'000;

// A training that can begin.
struct PreparedTraining {
  internal::v1::TrainBegin begin;
  internal::v1::TrainingPlan plan;
  ResidentModel model;  // held, so that its weights stay
  // None if only the plan is wanted, also below.
  TrainingBudget::Lease lease;
  std::unique_ptr<Trainer> trainer;
};

class TrainIntake {
 public:
  // Borrows the registry.
  TrainIntake(ModelRegistry& registry, const EngineOptions& engine,
              std::string scratch_folder)
      : registry_(registry),
        engine_(engine),
        scratch_folder_(std::move(scratch_folder)) {}

  // INVALID_ARGUMENT for a message out of its order, saying what was expected,
  // and for what it says; NOT_FOUND if its model or adapter is not here;
  // RESOURCE_EXHAUSTED over a limit.
  absl::Status Take(const internal::v1::TrainRequest& request,
                    const Cancelled& cancelled);
  // Whether start has come.
  bool is_complete() const { return is_complete_; }
  // A stop may come before start.
  bool is_stopped() const { return is_stopped_; }

  // The training with its memory reserved, from its checkpoint if one was sent.
  // Nothing is allocated before it is known to fit; if only the plan is wanted,
  // nothing at all, and there is no trainer. REQUIRES: is_complete(). Call
  // once. FAILED_PRECONDITION if the adapter's files are other ones than when
  // it was loaded. Also fails as Trainer::Create, Restore and
  // TrainingBudget::Reserve do.
  absl::StatusOr<PreparedTraining> Prepare(TrainingBudget& budget);

 private:
  absl::Status TakeBegin(const internal::v1::TrainBegin& begin);
  absl::Status TakeDocuments(const internal::v1::DocumentBatch& batch,
                             const Cancelled& cancelled);
  absl::Status TakeCheckpoint(const std::string& bytes);
  absl::Status TakeStart();
  // What is known without the weights, for the trained documents.
  void Plan(const TrainingMemory& memory, int64_t document_count,
            PreparedTraining& out) const;
  absl::StatusOr<LoraParameters> MakeLora() const;
  absl::Status Begin(TrainingSets sets, PreparedTraining& out);
  absl::Status Restore(Trainer& trainer);

  ModelRegistry& registry_;
  const EngineOptions engine_;
  const std::string scratch_folder_;
  bool is_complete_ = false;
  bool is_stopped_ = false;
  // Set by begin.
  std::optional<internal::v1::TrainBegin> begin_;
  ResidentModel model_;
  std::string adapter_path_;    // to go on from; empty: none
  std::string adapter_digest_;  // of what is loaded
  TrainingOptions options_;
  double held_out_share_ = 0.0;
  LoraShape lora_;
  std::optional<DocumentEncoder> encoder_;

  std::vector<EncodedDocument> documents_;
  int64_t document_bytes_ = 0;
  std::optional<ScratchPath> checkpoint_path_;
  std::optional<AtomicFile> checkpoint_;
  int64_t checkpoint_bytes_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAIN_INTAKE_H_
