// LoRA training on the weights that a model has resident: no copy of them, no
// gradient of a frozen weight, nothing computed backward below the first
// adapted block. Works in pieces, so that whoever owns the device can do
// something else in between; what else it does changes no bit. Not thread
// safe: all calls but those on what it returned come from one thread at a time.
//
//   ASSIGN_OR_RETURN(auto trainer, Trainer::Create(model, std::move(lora),
//                                                  documents, {}, options));
//   for (bool more = true; more;) {
//     ASSIGN_OR_RETURN(TrainingPiece piece, trainer->RunPiece());
//     if (piece.step.has_value()) Report(*piece.step);
//     more = !piece.finished;
//   }
//   ASSIGN_OR_RETURN(auto adapter, trainer->MakeAdapter());
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINER_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/model.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/train/training_memory.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// One optimizer step; see TrainingStep in the internal training.proto.
struct StepReport {
  int64_t step = 0;  // from 1
  double epoch = 0.0;
  double loss = 0.0;
  double learning_rate = 0.0;
  double grad_norm = 0.0;
  int64_t token_count = 0;
  int64_t target_count = 0;
};

struct ValidationReport {
  int64_t step = 0;
  double loss = 0.0;
  bool best = false;
};

// What a piece of work completed.
struct TrainingPiece {
  std::optional<StepReport> step;
  std::optional<ValidationReport> validation;
  bool finished = false;  // nothing is left to do
};

// How a training divides into steps.
struct TrainingSchedule {
  int64_t step_count = 0;
  int64_t steps_per_epoch = 0;
  int64_t validation_step_count = 0;
};

// All that goes on from a step: a file's contents. Another thread may write it
// while training goes on.
struct TrainingState {
  int64_t step = 0;
  std::vector<NamedTensor> tensors;  // copies
  SafetensorsMetadata metadata;      // position, validation so far, digest
};

// Of so many documents, without those held out.
TrainingSchedule ScheduleOf(int64_t document_count,
                            const TrainingOptions& options);

class Trainer {
 public:
  // INVALID_ARGUMENT for no documents, one without anything to predict, token
  // ids outside the vocabulary, or one longer than the model's positions,
  // naming the line; also for options out of range, naming them.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      std::shared_ptr<const Model> model, LoraParameters lora,
      std::vector<TrainingDocument> documents,
      std::vector<TrainingDocument> validation, const TrainingOptions& options);
  ~Trainer();

  // Does the next piece: a micro-batch, which may complete a step, or one of a
  // validation. After finished pieces: another finished one. INVALID_ARGUMENT
  // if a number is not finite, naming step, block and the document's line:
  // nothing goes on then, and state() is that of the step before.
  absl::StatusOr<TrainingPiece> RunPiece();

  // Called after each block of a piece, on its thread: a sign of life.
  void SetProgress(std::function<void()> progress);

  const TrainingSchedule& schedule() const;
  // O(documents).
  TrainingMemory Memory() const;
  // "sha256:..." over documents, options, base and initial weights.
  const std::string& digest() const;
  int64_t step() const;       // whole steps done
  int64_t best_step() const;  // whose weights come out; step() unless it
                              // stopped early
  bool stopped_early() const;
  // Whether the next pieces are of the validation after step().
  bool needs_validation() const;

  // As of the last whole step: a micro-batch after it is done again.
  TrainingState state() const;
  // FAILED_PRECONDITION if it is of another training, INVALID_ARGUMENT if it is
  // damaged; nothing changes then.
  absl::Status Restore(const SafetensorsFile& state);

  // Weights as of the last whole step, or of best_step() once finished: for the
  // engine, and as PEFT's tensors.
  absl::StatusOr<std::shared_ptr<const LoraAdapter>> MakeAdapter() const;
  std::vector<NamedTensor> PeftTensors() const;
  const LoraParameters& lora() const;

 private:
  class Impl;
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINER_H_
