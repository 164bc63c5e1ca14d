// The mixture of experts of experts.h with a backward pass. Stateless, thread
// safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAIN_EXPERTS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAIN_EXPERTS_H_

#include <ATen/core/Tensor.h>

#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/weights.h"

namespace dissonance {

// x [rows, d_model] through each row's chosen experts, with the gradient
// through their probabilities. Returns [rows, d_model].
at::Tensor TrainExperts(const DecoderSpec& spec, const BlockWeights& weights,
                        const at::Tensor& x);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAIN_EXPERTS_H_
