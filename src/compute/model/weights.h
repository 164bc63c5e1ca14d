// A decoder's weights on the device. q, k, v are fused into one matrix, gate
// and up into another: one product each instead of three and two. Immutable
// once read, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_WEIGHTS_H_
#define DISSONANCE_COMPUTE_MODEL_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

struct LinearWeights {
  at::Tensor weight;               // [out, in]
  std::optional<at::Tensor> bias;  // [out]
};

// Undefined weight: no norm in this place.
struct NormWeights {
  at::Tensor weight;  // [width], with the spec's norm_offset added
  at::Tensor bias;    // [width], kLayer only
};

struct ExpertWeights {
  LinearWeights gate_up;  // out: 2 * the expert's d_mlp
  LinearWeights down;
};

struct BlockWeights {
  NormWeights attn_norm;  // [d_model], also below
  NormWeights attn_post_norm;
  LinearWeights qkv;   // out: q_width + 2 * kv_width
  NormWeights q_norm;  // [head_dim] or [q_width]
  NormWeights k_norm;  // [head_dim] or [kv_width]
  LinearWeights o;     // [d_model, q_width]
  NormWeights mlp_norm;
  NormWeights mlp_post_norm;
  LinearWeights gate_up;  // out: 2 * d_mlp, or d_mlp without a gate
  LinearWeights down;     // [d_model, d_mlp]
  LinearWeights router;   // [experts, d_model]; only with experts
  std::vector<ExpertWeights> experts;
};

struct DecoderWeights {
  at::Tensor embed;      // [vocab, d_model]
  at::Tensor positions;  // [positions, d_model]; undefined with rotary
  std::vector<BlockWeights> blocks;
  NormWeights final_norm;
  at::Tensor unembed;  // [vocab, d_model]; shares embed's memory if tied
  int64_t parameter_count = 0;
  int64_t bytes = 0;
};

// A stored matrix of a group, or its bias, with its rows (of the output) in
// the order of the group's fused output. For adapters too.
at::Tensor InGroupOrder(const DecoderSpec& spec, ProjectionGroup group,
                        const at::Tensor& stored);
// The inverse.
at::Tensor InStoredOrder(const DecoderSpec& spec, ProjectionGroup group,
                         const at::Tensor& grouped);

// Reads the weights that the spec asks for and converts them to `options`'
// dtype and device. INVALID_ARGUMENT names a tensor that is missing, has
// another shape, is not floating point, holds NaN or Inf, or that the spec has
// no place for.
absl::StatusOr<DecoderWeights> ReadWeights(const DecoderSpec& spec,
                                           const Checkpoint& checkpoint,
                                           const at::TensorOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_WEIGHTS_H_
