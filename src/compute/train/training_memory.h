// How much memory training takes, before it takes it. Pure, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_

#include <cstdint>
#include <vector>

#include "src/compute/lora/lora_shape.h"
#include "src/compute/model/model.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// Bytes beside the base weights, about, at most.
struct TrainingMemory {
  int64_t state_bytes = 0;       // weights, gradients, moments
  int64_t activation_bytes = 0;  // of the largest micro-batch
  int64_t longest_line = 0;      // of the document that needs most alone
  int64_t longest_bytes = 0;     // its activations
};

// A document's length.
struct DocumentLength {
  int64_t line = 0;
  int64_t tokens = 0;
};

// Of a training on documents of these lengths, those held out included, in any
// order. REQUIRES: at least one.
TrainingMemory TrainingMemoryFor(const Model& model, const LoraShape& lora,
                                 const TrainingOptions& options,
                                 std::vector<DocumentLength> lengths);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_MEMORY_H_
