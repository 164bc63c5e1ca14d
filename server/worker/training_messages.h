// What a training is told and what it reports, as messages. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_TRAINING_MESSAGES_H_
#define DISSONANCE_SERVER_WORKER_TRAINING_MESSAGES_H_

#include "absl/status/statusor.h"
#include "dissonance/internal/v1/training.pb.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/train/trainer.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// With defaults filled in. INVALID_ARGUMENT names the field and its range;
// those of TrainingOptions are the trainer's to check.
absl::StatusOr<TrainingOptions> TrainingOptionsOf(
    const v1::TrainingOptions& message);
absl::StatusOr<PeftConfig> PeftConfigOf(const v1::LoraOptions& message);
// max_length_tokens and validation_fraction, likewise.
absl::StatusOr<int64_t> MaxTokensOf(const v1::TrainingOptions& message);
absl::StatusOr<double> HeldOutShareOf(const v1::TrainingOptions& message);

// INVALID_ARGUMENT if options of a new adapter are set beside an adapter to go
// on from, whose own are kept.
absl::Status CheckKeptLora(const v1::LoraOptions& message);

// Without seconds and peak.
internal::v1::TrainingStep StepMessage(const StepReport& report);
internal::v1::TrainingValidation ValidationMessage(
    const ValidationReport& report);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAINING_MESSAGES_H_
