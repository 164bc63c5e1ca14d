// What a training is told, beside its documents. Plain values, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_OPTIONS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_OPTIONS_H_

#include <cstdint>
#include <vector>

namespace dissonance {

// One document, ready for training.
struct TrainingDocument {
  std::vector<int32_t> tokens;
  // [tokens] whether each is predicted; the first never is. Empty: all are.
  std::vector<bool> is_target = {};
  int64_t line = 0;  // in its file, from 1; for messages

  // Tokens that are predicted.
  int64_t target_count() const;
};

enum class RateSchedule { kLinear, kCosine, kConstant };

// What a step's loss is divided by.
enum class LossAverage {
  kStep,        // all predicted tokens of the step
  kMicroBatch,  // those of each micro-batch; then the mean over micro-batches
};

// See TrainingOptions in training.proto, whose defaults these are.
struct TrainingOptions {
  int64_t epoch_count = 3;
  int64_t max_step_count = 0;  // 0: no bound
  double learning_rate = 2e-4;
  RateSchedule schedule = RateSchedule::kLinear;
  int64_t warmup_step_count = 0;
  int64_t micro_batch_size = 4;
  int64_t accumulation_count = 4;
  LossAverage loss_average = LossAverage::kStep;
  double weight_decay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double max_grad_norm = 1.0;  // 0: gradients are left as they are
  uint64_t seed = 42;
  bool activation_checkpointing = false;
  int64_t validation_step_count = 0;  // 0: once an epoch
  int64_t early_stop_patience = 0;    // 0: never
  // Documents of each micro-batch of each step, by index; empty: the order
  // follows from the seed. For comparisons with other trainers.
  std::vector<std::vector<std::vector<int64_t>>> fixed_batches = {};
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_OPTIONS_H_
