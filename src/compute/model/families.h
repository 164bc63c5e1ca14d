// The table of model families: what each one's config.json and checkpoint say
// differently from Llama's. Immutable, thread safe.
//
//   const Family* family = FindFamily("Gemma2ForCausalLM");
//   family->read(reader, spec);
#ifndef DISSONANCE_COMPUTE_MODEL_FAMILIES_H_
#define DISSONANCE_COMPUTE_MODEL_FAMILIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "src/compute/model/config_reader.h"
#include "src/compute/model/decoder_spec.h"

namespace dissonance {

// Names of the fields that every family has.
struct ConfigKeys {
  const char* d_model = "hidden_size";
  const char* d_mlp = "intermediate_size";
  const char* head_count = "num_attention_heads";
  const char* block_count = "num_hidden_layers";
  const char* max_positions = "max_position_embeddings";
  const char* norm_eps = "rms_norm_eps";
  const char* activation = "hidden_act";
  const char* rope_theta = "rope_theta";
  const char* rope_part = "partial_rotary_factor";
};

// Defaults are those of transformers for fields that a config leaves out.
struct Family {
  ConfigKeys keys = {};
  int64_t max_positions = 2048;
  double norm_eps = 1e-6;
  const char* activation = "silu";
  int64_t head_dim = 0;    // 0: d_model / head_count
  int64_t mlp_factor = 0;  // d_mlp / d_model; 0: the config has to say
  bool tied_unembed = false;
  bool has_rope = true;
  double rope_theta = 10000.0;
  double rope_part = 1.0;  // share of a head that is rotated
  bool reads_rope_part = false;
  int64_t window = 0;  // of blocks that slide, without "sliding_window"
  // Whether a block has a window, where "layer_types" does not tell. Null: no
  // block of this family has one.
  bool (*slides)(ConfigReader& read, int64_t block) = nullptr;
  // Everything else that differs from Llama; runs after the common fields.
  void (*read)(ConfigReader& read, DecoderSpec& spec) = nullptr;
};

// Null for an architecture that is not supported.
const Family* FindFamily(const std::string& architecture);

// Sorted.
std::vector<std::string> SupportedArchitectures();

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_FAMILIES_H_
