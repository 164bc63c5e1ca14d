// The unembedding and the cross-entropy in one, some rows at a time: the logits
// of a whole batch, the largest tensor of a training step, never exist.
// Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TOKEN_LOSS_H_
#define DISSONANCE_COMPUTE_TRAIN_TOKEN_LOSS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "src/compute/model/model.h"

namespace dissonance {

// Bytes of logits that exist at a time, about.
inline constexpr int64_t kLossChunkBytes = int64_t{32} << 20;

struct TokenLoss {
  double sum = 0.0;  // nats, over the rows
  // Of the rows, times `weight`: [rows, d_model]; undefined for weight 0.
  at::Tensor grad = {};
};

// Cross-entropy of the next-token distributions of final-norm rows [rows,
// d_model] against targets [rows] (int64), in float32 (float64 for float64).
TokenLoss ComputeTokenLoss(const Model& model, const at::Tensor& hidden,
                           const at::Tensor& targets, double weight);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TOKEN_LOSS_H_
