// What a training is refused for, and what tells it from others. Stateless,
// thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_CHECKS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_CHECKS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/model.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// INVALID_ARGUMENT naming the option and its range.
absl::Status CheckTrainingOptions(const TrainingOptions& options);

// INVALID_ARGUMENT as Trainer::Create says.
absl::Status CheckTrainingDocuments(
    const Model& model, const std::vector<TrainingDocument>& documents);

// "sha256:..." over all that a training's numbers follow from.
std::string TrainingDigest(const Model& model, const LoraParameters& lora,
                           const std::vector<TrainingDocument>& documents,
                           const std::vector<TrainingDocument>& validation,
                           const TrainingOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_CHECKS_H_
