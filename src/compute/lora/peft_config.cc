#include "src/compute/lora/peft_config.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/tensor/config_file.h"

namespace dissonance {
namespace {

// Keeps the file's order: the first matching pattern wins.
using Json = nlohmann::ordered_json;

constexpr int64_t kRankLimit = 65536;

// Keys that say where the adapter comes from or how it was trained, not what
// it computes.
const std::set<std::string>& HarmlessKeys() {
  static const auto* keys =
      new std::set<std::string>{"auto_mapping",   "base_model_name_or_path",
                                "revision",       "inference_mode",
                                "task_type",      "peft_version",
                                "peft_type",      "loftq_config",
                                "eva_config",     "lora_ga_config",
                                "megatron_core",  "megatron_config",
                                "runtime_config", "ensure_weight_tying",
                                "layers_pattern", "qalora_group_size",
                                "fan_in_fan_out"};
  return *keys;
}

const std::set<std::string>& KnownKeys() {
  static const auto* keys =
      new std::set<std::string>{"target_modules",      "exclude_modules",
                                "layers_to_transform", "r",
                                "lora_alpha",          "use_rslora",
                                "lora_dropout",        "rank_pattern",
                                "alpha_pattern",       "bias",
                                "init_lora_weights"};
  return *keys;
}

bool IsOff(const Json& value) {
  return value.is_null() || value == false || value == 0 ||
         (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

absl::Status Unsupported(const std::string& where, absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat(where, ": ", what,
                   " is not supported; only plain LoRA and rsLoRA adapters "
                   "can be applied exactly"));
}

absl::Status RefuseUnsupported(const Json& config, const std::string& where) {
  const Json type = config.value("peft_type", Json());
  if (type != "LORA") {
    return Unsupported(where, absl::StrCat("peft_type ", type.dump()));
  }
  const Json bias = config.value("bias", Json("none"));
  if (bias != "none") {
    return Unsupported(where, absl::StrCat("bias ", bias.dump()));
  }
  // These initialisations change the base weights that the adapter is for.
  const Json init = config.value("init_lora_weights", Json(true));
  if (init.is_string() && init != "gaussian" && init != "eva" &&
      init != "orthogonal") {
    return Unsupported(where,
                       absl::StrCat("init_lora_weights ", init.dump(),
                                    " (weights relative to a changed base)"));
  }
  for (const auto& [key, value] : config.items()) {
    if (HarmlessKeys().contains(key) || KnownKeys().contains(key)) continue;
    if (!IsOff(value)) {
      return Unsupported(where, absl::StrCat(key, " = ", value.dump()));
    }
  }
  return absl::OkStatus();
}

absl::Status Malformed(const std::string& where, absl::string_view key,
                       absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": \"", key, "\" must be ", expected));
}

absl::Status CheckExpression(const std::string& where, absl::string_view key,
                             const std::string& expression) {
  const RE2 parsed(expression, RE2::Quiet);
  if (parsed.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": \"", key, "\": cannot read the expression \"",
                   expression, "\": ", parsed.error()));
}

// A list of names, or one string that is an expression.
absl::Status ReadModules(const Json& config, const std::string& where,
                         const char* key, std::vector<std::string>& names,
                         std::string& expression) {
  const Json value = config.value(key, Json());
  if (value.is_null()) return absl::OkStatus();
  if (value.is_string()) {
    expression = value.get<std::string>();
    return CheckExpression(where, key, expression);
  }
  if (!value.is_array()) {
    return Malformed(where, key, "a string or a list of strings");
  }
  for (const Json& name : value) {
    if (!name.is_string()) return Malformed(where, key, "a list of strings");
    names.push_back(name.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadLayers(const Json& config, const std::string& where,
                        PeftConfig& out) {
  const Json value = config.value("layers_to_transform", Json());
  if (value.is_null()) return absl::OkStatus();
  for (const Json& layer : value.is_array() ? value : Json::array({value})) {
    if (!layer.is_number_integer()) {
      return Malformed(where, "layers_to_transform", "a list of integers");
    }
    out.layers.push_back(layer.get<int64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> RankIn(const Json& value, const std::string& where,
                               absl::string_view key) {
  if (!value.is_number_integer() || value < 1 || value > kRankLimit) {
    return Malformed(where, key, absl::StrCat("a rank of 1 to ", kRankLimit));
  }
  return value.get<int64_t>();
}

absl::Status ReadPatterns(const Json& config, const std::string& where,
                          PeftConfig& out) {
  const Json ranks = config.value("rank_pattern", Json::object());
  const Json alphas = config.value("alpha_pattern", Json::object());
  if (!ranks.is_object() || !alphas.is_object()) {
    return Malformed(where, "rank_pattern and alpha_pattern", "objects");
  }
  for (const auto& [key, value] : ranks.items()) {
    RETURN_IF_ERROR(CheckExpression(where, "rank_pattern", key));
    ASSIGN_OR_RETURN(const int64_t rank, RankIn(value, where, "rank_pattern"));
    out.rank_pattern.emplace_back(key, rank);
  }
  for (const auto& [key, value] : alphas.items()) {
    RETURN_IF_ERROR(CheckExpression(where, "alpha_pattern", key));
    if (!value.is_number()) {
      return Malformed(where, "alpha_pattern", "numbers by module");
    }
    out.alpha_pattern.emplace_back(key, value.get<double>());
  }
  return absl::OkStatus();
}

absl::Status ReadNumbers(const Json& config, const std::string& where,
                         PeftConfig& out) {
  ASSIGN_OR_RETURN(out.rank, RankIn(config.value("r", Json(8)), where, "r"));
  const Json alpha = config.value("lora_alpha", Json(8));
  const Json dropout = config.value("lora_dropout", Json(0.0));
  const Json rank_stabilized = config.value("use_rslora", Json(false));
  if (!alpha.is_number() || !std::isfinite(alpha.get<double>())) {
    return Malformed(where, "lora_alpha", "a number");
  }
  if (!dropout.is_number() || dropout < 0 || dropout >= 1) {
    return Malformed(where, "lora_dropout", "a probability below 1");
  }
  if (!rank_stabilized.is_boolean()) {
    return Malformed(where, "use_rslora", "true or false");
  }
  out.alpha = alpha.get<double>();
  out.dropout = dropout.get<double>();
  out.rank_stabilized = rank_stabilized.get<bool>();
  return absl::OkStatus();
}

bool NameMatches(const std::string& module,
                 const std::vector<std::string>& names,
                 const std::string& expression) {
  if (!expression.empty()) return RE2::FullMatch(module, expression);
  return std::any_of(names.begin(), names.end(), [&](const auto& name) {
    return module == name || absl::EndsWith(module, absl::StrCat(".", name));
  });
}

template <typename T>
T PatternValue(const std::vector<std::pair<std::string, T>>& patterns,
               const std::string& module, T fallback) {
  for (const auto& [expression, value] : patterns) {
    if (RE2::FullMatch(module, absl::StrCat("(.*\\.)?(", expression, ")"))) {
      return value;
    }
  }
  return fallback;
}

// As PEFT writes a number that is mostly whole.
Json NumberJson(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::abs(value) < kExact && value == std::trunc(value)) {
    return static_cast<int64_t>(value);
  }
  return value;
}

Json ModulesJson(std::vector<std::string> names,
                 const std::string& expression) {
  if (!expression.empty()) return expression;
  if (names.empty()) return nullptr;
  std::sort(names.begin(), names.end());
  return names;
}

// In their order, which says what wins.
template <typename T>
Json PatternsJson(const std::vector<std::pair<std::string, T>>& patterns) {
  Json out = Json::object();
  for (const auto& [expression, value] : patterns) {
    if (!out.contains(expression)) out[expression] = NumberJson(value);
  }
  return out;
}

}  // namespace

bool PeftConfig::Targets(const std::string& module, int64_t block) const {
  if (NameMatches(module, excluded_modules, excluded_expression)) return false;
  if (!all_linear && !NameMatches(module, target_modules, target_expression)) {
    return false;
  }
  return layers.empty() ||
         std::find(layers.begin(), layers.end(), block) != layers.end();
}

int64_t PeftConfig::RankOf(const std::string& module) const {
  return PatternValue(rank_pattern, module, rank);
}

double PeftConfig::ScalingOf(const std::string& module) const {
  const double module_alpha = PatternValue(alpha_pattern, module, alpha);
  const auto module_rank = static_cast<double>(RankOf(module));
  return module_alpha /
         (rank_stabilized ? std::sqrt(module_rank) : module_rank);
}

absl::StatusOr<PeftConfig> ParsePeftConfig(absl::string_view text,
                                           const std::string& where) {
  // Checks depth, UTF-8 and repeated keys before the order-keeping parse.
  RETURN_IF_ERROR(ParseJson(text, where).status());
  const Json config = Json::parse(text.begin(), text.end());
  if (!config.is_object()) return Malformed(where, "config", "an object");
  RETURN_IF_ERROR(RefuseUnsupported(config, where));
  PeftConfig out;
  RETURN_IF_ERROR(ReadModules(config, where, "target_modules",
                              out.target_modules, out.target_expression));
  RETURN_IF_ERROR(ReadModules(config, where, "exclude_modules",
                              out.excluded_modules, out.excluded_expression));
  if (out.target_expression == "all-linear") {
    out.target_expression.clear();
    out.all_linear = true;
  }
  RETURN_IF_ERROR(ReadLayers(config, where, out));
  RETURN_IF_ERROR(ReadNumbers(config, where, out));
  RETURN_IF_ERROR(ReadPatterns(config, where, out));
  return out;
}

absl::StatusOr<PeftConfig> ReadPeftConfig(const std::string& directory) {
  ASSIGN_OR_RETURN(const ConfigText file, ReadAdapterConfig(directory));
  return ParsePeftConfig(file.text, file.path);
}

std::string PeftConfigJson(const PeftConfig& config, const DecoderSpec& spec,
                           const std::string& base_model) {
  const Json targets =
      config.all_linear
          ? Json("all-linear")
          : ModulesJson(config.target_modules, config.target_expression);
  const Json excluded =
      ModulesJson(config.excluded_modules, config.excluded_expression);
  const Json layers = config.layers.empty() ? Json() : Json(config.layers);
  // All keys of PEFT 0.21's LoraConfig, sorted as it writes them.
  const Json out = {
      {"alora_invocation_tokens", nullptr},
      {"alpha_pattern", PatternsJson(config.alpha_pattern)},
      {"arrow_config", nullptr},
      {"auto_mapping", nullptr},
      {"base_model_name_or_path", base_model},
      {"bias", "none"},
      {"corda_config", nullptr},
      {"ensure_weight_tying", false},
      {"eva_config", nullptr},
      {"exclude_modules", excluded},
      {"fan_in_fan_out", spec.transposed},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"kasa_config", nullptr},
      {"layer_replication", nullptr},
      {"layers_pattern", nullptr},
      {"layers_to_transform", layers},
      {"loftq_config", Json::object()},
      {"lora_alpha", NumberJson(config.alpha)},
      {"lora_bias", false},
      {"lora_dropout", config.dropout},
      {"lora_ga_config", nullptr},
      {"megatron_config", nullptr},
      {"megatron_core", "megatron.core"},
      {"modules_to_save", nullptr},
      {"monteclora_config", nullptr},
      {"peft_type", "LORA"},
      {"peft_version", "0.21.2"},
      {"qalora_group_size", 16},
      {"r", config.rank},
      {"rank_pattern", PatternsJson(config.rank_pattern)},
      {"revision", nullptr},
      {"target_modules", targets},
      {"target_parameters", nullptr},
      {"task_type", "CAUSAL_LM"},
      {"trainable_token_indices", nullptr},
      {"use_bdlora", nullptr},
      {"use_dora", false},
      {"use_qalora", false},
      {"use_rslora", config.rank_stabilized},
      {"velora_config", nullptr},
  };
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace dissonance
