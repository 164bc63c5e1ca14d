// What a decoder-only transformer is, in numbers and switches. A model family
// is an entry in a table that reads config.json into a DecoderSpec; the one
// Decoder computes whatever the spec describes. Plain values, thread safe.
//
//   ASSIGN_OR_RETURN(DecoderSpec spec, ReadDecoderSpec(dir));
//   spec.blocks[3].window;  // 0: full attention
#ifndef DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_
#define DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "src/compute/model/tensor_names.h"

namespace dissonance {

// Rotary position embedding of a head's first `width` components, half-split
// pairing (i, i + width / 2).
struct RopeSpec {
  enum class Scaling { kNone, kLinear, kLlama3 };
  int64_t width = 0;  // 0: no rotary
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  // kLlama3 only.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_positions = 8192.0;
};

// kRms rounds to the model's type before the weight, kRmsWide after it; kLayer
// also subtracts the mean and adds a bias.
enum class NormKind { kRms, kRmsWide, kLayer };
// Of q and k before rotary: none, of each head, or of the whole projection.
enum class QkNorm { kNone, kHead, kWhole };
enum class Activation { kSilu, kGelu, kGeluTanh };

// Mixture of experts (Shazeer et al. 2017): each row goes through its `chosen`
// most probable experts, weighted by their probabilities.
struct ExpertsSpec {
  int64_t count = 0;  // 0: none
  int64_t chosen = 0;
  int64_t d_mlp = 0;           // of one expert
  bool normalize = true;       // the chosen probabilities sum to 1
  bool round_weights = false;  // to the model's type
};

struct BlockSpec {
  // Sliding window: a query at p sees keys p - window + 1 .. p. 0: all keys.
  int64_t window = 0;
  bool has_experts = false;  // instead of the MLP
};

struct DecoderSpec {
  std::string architecture;  // "LlamaForCausalLM"
  int64_t vocab_size = 0;
  int64_t d_model = 0;
  int64_t d_mlp = 0;
  int64_t head_count = 0;
  int64_t kv_head_count = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double embed_scale = 1.0;  // rounded to the model's type, as is its product

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  double norm_offset = 0.0;        // added to the stored norm weights
  bool parallel_residual = false;  // attention and MLP read the same residual

  RopeSpec rope;
  std::optional<RopeSpec> window_rope;  // of blocks with a window
  QkNorm qk_norm = QkNorm::kNone;
  double attn_scale = 0.0;    // of q k^T; 0: 1 / sqrt(head_dim)
  double attn_softcap = 0.0;  // c * tanh(score / c); 0: none

  bool gated = true;  // activation(gate) * up, else activation(up)
  Activation activation = Activation::kSilu;
  ExpertsSpec experts;

  bool tied_unembed = false;   // unembedding = token embedding
  double final_softcap = 0.0;  // of the logits; 0: none

  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;

  // How the checkpoint stores its block matrices.
  TensorNames names;
  bool transposed = false;   // [in, out]
  bool qkv_by_head = false;  // rows: q, k, v of a head after another
  std::string stored_dtype;  // torch_dtype of the checkpoint
  std::vector<int32_t> eos_token_ids;
  std::vector<BlockSpec> blocks;

  int64_t q_width() const { return head_count * head_dim; }
  int64_t kv_width() const { return kv_head_count * head_dim; }
  int64_t block_count() const { return static_cast<int64_t>(blocks.size()); }
  // Whether a block rotates by window_rope instead of rope.
  bool uses_window_rope(int64_t block) const;

  // Name of something in a block, as the checkpoint and adapters use it.
  std::string InBlock(int64_t block, const std::string& name) const;
  // A group's matrices in the order of its fused output; none where experts
  // take the MLP's place.
  std::vector<ModuleSpec> Modules(int64_t block, ProjectionGroup group) const;
  int64_t InWidth(ProjectionGroup group) const;
  int64_t OutWidth(ProjectionGroup group) const;
  bool HasBias(ProjectionGroup group) const;
};

// Reads DIR/config.json, in the key style of the published checkpoints or of
// transformers 5 (rope_parameters, dtype). UNIMPLEMENTED names an architecture,
// rope type, activation or quantisation that is not supported;
// INVALID_ARGUMENT names file and field of anything malformed.
absl::StatusOr<DecoderSpec> ReadDecoderSpec(const std::string& dir);

// The same from parsed JSON; `where` begins the messages.
absl::StatusOr<DecoderSpec> ParseDecoderSpec(const nlohmann::json& config,
                                             const std::string& where);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_
