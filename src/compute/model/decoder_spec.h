// What a decoder-only transformer is, in numbers and switches. A model family
// is an entry in a table that reads config.json into a DecoderSpec; the one
// Decoder computes whatever the spec describes. Plain values, thread safe.
//
//   ASSIGN_OR_RETURN(DecoderSpec spec, ReadDecoderSpec(dir));
//   spec.blocks[3].window;  // 0: full attention
#ifndef DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_
#define DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

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

// Projections that share their input and are computed by one product, side by
// side: q, k, v; o; gate, up (up alone without a gate); down.
enum class ProjectionGroup { kQkv, kO, kGateUp, kDown };
inline constexpr int kGroupCount = 4;

// A matrix of the checkpoint: one projection of a group or the whole group.
// What adapters adapt.
struct ModuleSpec {
  std::string name;  // of the module: "model.layers.3.self_attn.q_proj"
  int64_t out_width = 0;
};

// Names of a checkpoint's tensors, without ".weight" and ".bias". Empty: the
// family has no such tensor.
struct TensorNames {
  // Begins the names below, but may be missing in a checkpoint.
  std::string optional_prefix;
  std::string embed = "model.embed_tokens";
  std::string positions;  // learned position embeddings
  std::string final_norm = "model.norm";
  std::string unembed = "lm_head";
  std::string blocks = "model.layers";
  // Within a block, after "BLOCKS.NUMBER.".
  std::string attn_norm = "input_layernorm";
  std::string attn_post_norm;  // of attention's output
  std::string mlp_norm = "post_attention_layernorm";
  std::string mlp_post_norm;  // of the MLP's output
  std::string q_norm = "self_attn.q_norm";
  std::string k_norm = "self_attn.k_norm";
  std::array<std::vector<std::string>, kGroupCount> modules = {{
      {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
      {"self_attn.o_proj"},
      {"mlp.gate_proj", "mlp.up_proj"},
      {"mlp.down_proj"},
  }};
  std::string router;   // [experts, d_model]
  std::string experts;  // EXPERTS.NUMBER.NAME
  std::array<std::string, 3> expert_modules;  // gate, up, down
};

// Mixture of experts (Shazeer et al. 2017): each row goes through its `chosen`
// most probable experts, weighted by their probabilities.
struct ExpertsSpec {
  int64_t count = 0;  // 0: none
  int64_t chosen = 0;
  int64_t d_mlp = 0;       // of one expert
  bool normalize = true;   // the chosen probabilities sum to 1
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
  bool transposed = false;        // [in, out]
  bool qkv_by_head = false;       // rows: q, k, v of a head after another
  std::string stored_dtype;  // torch_dtype of the checkpoint
  std::vector<int32_t> eos_token_ids;
  std::vector<BlockSpec> blocks;

  int64_t q_width() const { return head_count * head_dim; }
  int64_t kv_width() const { return kv_head_count * head_dim; }
  int64_t block_count() const { return static_cast<int64_t>(blocks.size()); }
  const RopeSpec& rope_of(int64_t block) const;

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
