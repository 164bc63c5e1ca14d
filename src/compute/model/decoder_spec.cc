#include "src/compute/model/decoder_spec.h"

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/compute/model/config_reader.h"
#include "src/compute/tensor/config_file.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr int64_t kBlockLimit = 4096;

// What differs between families. Defaults are those of transformers for keys
// that a config leaves out.
struct Family {
  bool always_qkv_bias = false;       // whatever the config says
  bool reads_attention_bias = false;  // "attention_bias": q, k, v and o
  bool reads_mlp_bias = false;
  bool qk_norm = false;
  bool window_by_default = false;    // "sliding_window" alone turns it on
  bool reads_window_layers = false;  // use_sliding_window, max_window_layers
};

const std::map<std::string, Family>& Families() {
  static const auto* families = new std::map<std::string, Family>{
      {"LlamaForCausalLM",
       {.reads_attention_bias = true, .reads_mlp_bias = true}},
      {"MistralForCausalLM", {.window_by_default = true}},
      {"Qwen2ForCausalLM",
       {.always_qkv_bias = true, .reads_window_layers = true}},
      {"Qwen3ForCausalLM",
       {.reads_attention_bias = true,
        .qk_norm = true,
        .reads_window_layers = true}},
  };
  return *families;
}

absl::StatusOr<std::string> ReadArchitecture(const json& config,
                                             const std::string& where) {
  const auto it = config.find("architectures");
  if (it == config.end() || !it->is_array() || it->empty() ||
      !it->front().is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": \"architectures\" must be a list with the model's class"));
  }
  return it->front().get<std::string>();
}

absl::Status RefuseQuantisation(const json& config, const std::string& where) {
  const auto it = config.find("quantization_config");
  if (it == config.end() || it->is_null()) return absl::OkStatus();
  std::string method = "unknown";
  if (it->is_object()) {
    method = ConfigReader(*it, where).StringOr("quant_method", method);
  }
  return absl::UnimplementedError(absl::StrCat(
      where, ": quantisation \"", method,
      "\" is not supported; save the model in float32 or bfloat16"));
}

absl::Status ReadLlama3Rope(ConfigReader& read, RopeSpec& rope) {
  rope.factor = read.Number("factor");
  rope.low_freq_factor = read.Number("low_freq_factor");
  rope.high_freq_factor = read.Number("high_freq_factor");
  rope.original_max_positions = read.Number("original_max_position_embeddings");
  RETURN_IF_ERROR(read.status());
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return absl::InvalidArgumentError(
        "rope: high_freq_factor must be above low_freq_factor");
  }
  return absl::OkStatus();
}

// Published configs hold rope_theta and rope_scaling; transformers 5 writes
// both into rope_parameters.
absl::StatusOr<RopeSpec> ReadRope(const json& config,
                                  const std::string& where) {
  RopeSpec rope;
  ConfigReader top(config, where);
  rope.theta = top.NumberOr("rope_theta", 10000.0);
  RETURN_IF_ERROR(top.status());
  const char* key =
      top.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!top.Has(key)) return rope;
  const json& parameters = config.at(key);
  const std::string place = absl::StrCat(where, ": ", key);
  if (!parameters.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, " must be an object"));
  }
  ConfigReader read(parameters, place);
  rope.theta = read.NumberOr("rope_theta", rope.theta);
  const std::string type =
      read.StringOr("rope_type", read.StringOr("type", "default"));
  if (read.NumberOr("partial_rotary_factor", 1.0) != 1.0) {
    return absl::UnimplementedError(
        absl::StrCat(place, ": partial_rotary_factor is not supported"));
  }
  if (type == "linear") {
    rope.scaling = RopeSpec::Scaling::kLinear;
    rope.factor = read.Number("factor");
  } else if (type == "llama3") {
    rope.scaling = RopeSpec::Scaling::kLlama3;
    RETURN_IF_ERROR(ReadLlama3Rope(read, rope));
  } else if (type != "default") {
    return absl::UnimplementedError(
        absl::StrCat(place, ": rope type \"", type,
                     "\" is not supported; supported: default, linear, "
                     "llama3"));
  }
  RETURN_IF_ERROR(read.status());
  return rope;
}

absl::Status ReadActivation(const json& config, const std::string& where) {
  ConfigReader read(config, where);
  const std::string name = read.StringOr("hidden_act", "silu");
  RETURN_IF_ERROR(read.status());
  if (name == "silu" || name == "swish") return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      where, ": hidden_act \"", name, "\" is not supported; supported: silu"));
}

// Which blocks have a sliding window: layer_types where present, else the
// family's rule.
absl::Status ReadWindows(const json& config, const std::string& where,
                         const Family& family, DecoderSpec& spec) {
  ConfigReader read(config, where);
  int64_t window = 0;
  if (read.Has("sliding_window")) window = read.Positive("sliding_window");
  // A config without the key gets transformers' default; an explicit null
  // turns the window off.
  if (family.window_by_default && !config.contains("sliding_window")) {
    window = 4096;
  }
  const bool on =
      family.window_by_default ||
      (family.reads_window_layers && read.BoolOr("use_sliding_window", false));
  const int64_t first =
      family.reads_window_layers ? read.PositiveOr("max_window_layers", 28) : 0;
  RETURN_IF_ERROR(read.status());
  const auto types = config.find("layer_types");
  const bool listed = types != config.end() && types->is_array();
  if (listed && types->size() != spec.blocks.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": \"layer_types\" has ", types->size(),
                     " entries for ", spec.blocks.size(), " layers"));
  }
  for (size_t b = 0; b < spec.blocks.size(); ++b) {
    bool sliding = on && static_cast<int64_t>(b) >= first;
    if (listed) {
      const json& type = types->at(b);
      sliding = type == "sliding_attention";
      if (!sliding && type != "full_attention") {
        return absl::UnimplementedError(absl::StrCat(
            where, ": layer type ", type.dump(), " is not supported"));
      }
    }
    spec.blocks[b].window = sliding ? window : 0;
  }
  return absl::OkStatus();
}

absl::Status ReadEosTokens(const json& config, const std::string& where,
                           DecoderSpec& spec) {
  const auto it = config.find("eos_token_id");
  if (it == config.end() || it->is_null()) return absl::OkStatus();
  const json list = it->is_array() ? *it : json::array({*it});
  for (const json& id : list) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": \"eos_token_id\" must be a token id or a list of them"));
    }
    spec.eos_token_ids.push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadShape(const json& config, const std::string& where,
                       DecoderSpec& spec) {
  ConfigReader read(config, where);
  spec.vocab_size = read.Positive("vocab_size");
  spec.d_model = read.Positive("hidden_size");
  spec.d_mlp = read.Positive("intermediate_size");
  spec.head_count = read.Positive("num_attention_heads");
  spec.kv_head_count = read.PositiveOr("num_key_value_heads", spec.head_count);
  spec.max_positions = read.PositiveOr("max_position_embeddings", 2048);
  spec.norm_eps = read.NumberOr("rms_norm_eps", 1e-6);
  spec.tied_unembed = read.BoolOr("tie_word_embeddings", false);
  const int64_t block_count = read.Positive("num_hidden_layers");
  const int64_t per_head = spec.d_model / spec.head_count;
  spec.head_dim = read.PositiveOr("head_dim", std::max<int64_t>(per_head, 1));
  RETURN_IF_ERROR(read.status());
  if (block_count > kBlockLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": \"num_hidden_layers\" ", block_count,
                     " is above the limit ", kBlockLimit));
  }
  if (spec.head_count % spec.kv_head_count != 0 || spec.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": num_attention_heads ", spec.head_count,
        " must be a multiple of num_key_value_heads ", spec.kv_head_count,
        " and head_dim ", spec.head_dim, " must be even"));
  }
  spec.blocks.resize(static_cast<size_t>(block_count));
  return absl::OkStatus();
}

}  // namespace

const char* ProjectionName(Projection projection) {
  static constexpr const char* kNames[kProjectionCount] = {
      "q_proj",    "k_proj",  "v_proj",   "o_proj",
      "gate_proj", "up_proj", "down_proj"};
  return kNames[static_cast<int>(projection)];
}

int64_t DecoderSpec::InWidth(Projection projection) const {
  if (projection == Projection::kO) return q_width();
  if (projection == Projection::kDown) return d_mlp;
  return d_model;
}

int64_t DecoderSpec::OutWidth(Projection projection) const {
  switch (projection) {
    case Projection::kQ:
      return q_width();
    case Projection::kK:
    case Projection::kV:
      return kv_width();
    case Projection::kGate:
    case Projection::kUp:
      return d_mlp;
    default:
      return d_model;
  }
}

bool DecoderSpec::HasBias(Projection projection) const {
  if (projection == Projection::kO) return o_bias;
  return projection < Projection::kO ? qkv_bias : mlp_bias;
}

std::vector<std::string> SupportedArchitectures() {
  std::vector<std::string> names;
  for (const auto& [name, family] : Families()) names.push_back(name);
  return names;
}

absl::StatusOr<DecoderSpec> ParseDecoderSpec(const json& config,
                                             const std::string& where) {
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not an object"));
  }
  DecoderSpec spec;
  ASSIGN_OR_RETURN(spec.architecture, ReadArchitecture(config, where));
  const auto family = Families().find(spec.architecture);
  if (family == Families().end()) {
    return absl::UnimplementedError(
        absl::StrCat(where, ": architecture \"", spec.architecture,
                     "\" is not supported; supported: ",
                     absl::StrJoin(SupportedArchitectures(), ", ")));
  }
  RETURN_IF_ERROR(RefuseQuantisation(config, where));
  RETURN_IF_ERROR(ReadShape(config, where, spec));
  RETURN_IF_ERROR(ReadActivation(config, where));
  ASSIGN_OR_RETURN(spec.rope, ReadRope(config, where));
  RETURN_IF_ERROR(ReadWindows(config, where, family->second, spec));
  RETURN_IF_ERROR(ReadEosTokens(config, where, spec));
  ConfigReader read(config, where);
  spec.stored_dtype = read.StringOr("torch_dtype", read.StringOr("dtype", ""));
  const bool attention_bias = family->second.reads_attention_bias &&
                              read.BoolOr("attention_bias", false);
  spec.qkv_bias = attention_bias || family->second.always_qkv_bias;
  spec.o_bias = attention_bias;
  spec.mlp_bias =
      family->second.reads_mlp_bias && read.BoolOr("mlp_bias", false);
  spec.qk_norm = family->second.qk_norm;
  RETURN_IF_ERROR(read.status());
  return spec;
}

absl::StatusOr<DecoderSpec> ReadDecoderSpec(const std::string& dir) {
  ASSIGN_OR_RETURN(const ConfigText file, ReadModelConfig(dir));
  ASSIGN_OR_RETURN(const json config, ParseJson(file.text, file.path));
  return ParseDecoderSpec(config, file.path);
}

}  // namespace dissonance
