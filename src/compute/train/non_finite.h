// Where training's numbers stopped being finite, found by computing the
// documents again one by one. Stateless.
#ifndef DISSONANCE_COMPUTE_TRAIN_NON_FINITE_H_
#define DISSONANCE_COMPUTE_TRAIN_NON_FINITE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/train/training_network.h"

namespace dissonance {

// INVALID_ARGUMENT naming step, document and block, for a pack whose loss is
// not finite.
absl::Status NonFiniteLoss(TrainingNetwork& network, const TrainingPack& pack,
                           int64_t step);

// The same for a step whose gradient is not. Leaves the network's gradient in
// an unspecified state.
absl::Status NonFiniteGradient(TrainingNetwork& network,
                               const LoraParameters& lora,
                               const std::vector<TrainingPack>& packs,
                               int64_t step);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_NON_FINITE_H_
