// How much memory training takes, before it takes it. Pure, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_

#include <cstdint>

#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/model.h"

namespace dissonance {

// About how many bytes a micro-batch's two passes hold at most beside weights,
// gradients and moments; `tokens` in all, `longest` of its longest document.
int64_t ActivationBytes(const Model& model, const LoraParameters& lora,
                        bool activation_checkpointing, int64_t tokens,
                        int64_t longest);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_
