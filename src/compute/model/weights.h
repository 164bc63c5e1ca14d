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

struct BlockWeights {
  at::Tensor attn_norm;   // [d_model]
  LinearWeights qkv;      // out: q_width + 2 * kv_width
  at::Tensor q_norm;      // [head_dim], undefined without qk_norm
  at::Tensor k_norm;      // [head_dim], undefined without qk_norm
  LinearWeights o;        // [d_model, q_width]
  at::Tensor mlp_norm;    // [d_model]
  LinearWeights gate_up;  // out: 2 * d_mlp
  LinearWeights down;     // [d_model, d_mlp]
};

struct DecoderWeights {
  at::Tensor embed;  // [vocab, d_model]
  std::vector<BlockWeights> blocks;
  at::Tensor final_norm;  // [d_model]
  at::Tensor unembed;     // [vocab, d_model]; shares embed's memory if tied
  int64_t parameter_count = 0;
  int64_t bytes = 0;
};

// Name of a projection's module in the checkpoint, also the name that adapters
// use: "model.layers.3.self_attn.q_proj".
std::string ModuleName(int64_t block, Projection projection);

// Reads the weights that the spec asks for and converts them to `options`'
// dtype and device. INVALID_ARGUMENT names a tensor that is missing, has
// another shape, is not floating point, holds NaN or Inf, or that the spec has
// no place for.
absl::StatusOr<DecoderWeights> ReadWeights(const DecoderSpec& spec,
                                           const Checkpoint& checkpoint,
                                           const at::TensorOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_WEIGHTS_H_
