// What a checkpoint calls its tensors, and how a block's matrices are grouped.
// Plain values, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_TENSOR_NAMES_H_
#define DISSONANCE_COMPUTE_MODEL_TENSOR_NAMES_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace dissonance {

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
  std::string router;                         // [experts, d_model]
  std::string experts;                        // EXPERTS.NUMBER.NAME
  std::array<std::string, 3> expert_modules;  // gate, up, down
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_TENSOR_NAMES_H_
