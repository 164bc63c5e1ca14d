// adapter_config.json of a PEFT LoRA adapter: which modules it adapts, with
// which rank and scaling. Plain values, thread safe.
#ifndef DISSONANCE_COMPUTE_LORA_PEFT_CONFIG_H_
#define DISSONANCE_COMPUTE_LORA_PEFT_CONFIG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

struct DecoderSpec;

struct PeftConfig {
  // Exactly one of the two is set. The expression must match a module's whole
  // name; a list entry must be its whole name or its last dotted parts.
  std::vector<std::string> target_modules;
  std::string target_expression;
  bool all_linear = false;  // "all-linear": every projection of the decoder
  std::vector<std::string> excluded_modules;
  std::string excluded_expression;
  std::vector<int64_t> layers;  // layers_to_transform; empty: all

  int64_t rank = 8;
  double alpha = 8.0;
  bool rank_stabilized = false;  // rsLoRA: alpha / sqrt(rank)
  double dropout = 0.0;
  // Expression over the end of a module's name, in file order: the first that
  // matches wins.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;

  // Whether the adapter has weights for a module, e.g.
  // "model.layers.3.self_attn.q_proj" in block 3.
  bool Targets(const std::string& module, int64_t block) const;
  int64_t RankOf(const std::string& module) const;
  // What the low-rank product is multiplied by.
  double ScalingOf(const std::string& module) const;

  bool operator==(const PeftConfig&) const = default;
};

// Reads DIR/adapter_config.json. UNIMPLEMENTED names what would change the
// result and is not supported (another peft_type, DoRA, biases, saved
// modules, ...): nothing of a config is ever ignored silently.
absl::StatusOr<PeftConfig> ReadPeftConfig(const std::string& directory);

// The same from the file's text; `where` begins the messages.
absl::StatusOr<PeftConfig> ParsePeftConfig(absl::string_view text,
                                           const std::string& where);

// adapter_config.json that PEFT and ParsePeftConfig read as `config`, names of
// targets sorted; `base_model` goes into base_model_name_or_path.
std::string PeftConfigJson(const PeftConfig& config, const DecoderSpec& spec,
                           const std::string& base_model);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_LORA_PEFT_CONFIG_H_
