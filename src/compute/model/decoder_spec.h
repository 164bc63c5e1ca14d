// What a decoder-only transformer is, in numbers and switches. A model family
// is an entry in a table that reads config.json into a DecoderSpec; the one
// Decoder computes whatever the spec describes. Plain values, thread safe.
//
//   ASSIGN_OR_RETURN(DecoderSpec spec, ReadDecoderSpec(dir));
//   spec.blocks[3].window;  // 0: full attention
#ifndef DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_
#define DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// Rotary position embedding, half-split pairing (i, i + head_dim / 2).
struct RopeSpec {
  enum class Scaling { kNone, kLinear, kLlama3 };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  // kLlama3 only.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_positions = 8192.0;
};

// Where a projection sits in a block. Fused groups are computed by one matrix
// product in this order: q, k, v; o; gate, up; down.
enum class Projection { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kProjectionCount = 7;

// "q_proj" and so on: the last part of the module's name in the checkpoint.
const char* ProjectionName(Projection projection);

struct BlockSpec {
  // Sliding window: a query at p sees keys p - window + 1 .. p. 0: all keys.
  int64_t window = 0;
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
  double norm_eps = 1e-6;
  RopeSpec rope;
  bool tied_unembed = false;  // unembedding = token embedding
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;      // RMS norm of each head's q and k before rotary
  std::string stored_dtype;  // torch_dtype of the checkpoint
  std::vector<int32_t> eos_token_ids;
  std::vector<BlockSpec> blocks;

  int64_t q_width() const { return head_count * head_dim; }
  int64_t kv_width() const { return kv_head_count * head_dim; }
  int64_t block_count() const { return static_cast<int64_t>(blocks.size()); }

  // Input and output width of a projection.
  int64_t InWidth(Projection projection) const;
  int64_t OutWidth(Projection projection) const;
  bool HasBias(Projection projection) const;
};

// Reads DIR/config.json, in the key style of the published checkpoints or of
// transformers 5 (rope_parameters, dtype). UNIMPLEMENTED names an architecture,
// rope type, activation or quantisation that is not supported;
// INVALID_ARGUMENT names file and field of anything malformed.
absl::StatusOr<DecoderSpec> ReadDecoderSpec(const std::string& dir);

// The same from parsed JSON; `where` begins the messages.
absl::StatusOr<DecoderSpec> ParseDecoderSpec(const nlohmann::json& config,
                                             const std::string& where);

// Architectures that ParseDecoderSpec knows, sorted.
std::vector<std::string> SupportedArchitectures();

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DECODER_SPEC_H_
