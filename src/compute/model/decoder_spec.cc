#include "src/compute/model/decoder_spec.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/compute/model/config_reader.h"
#include "src/compute/model/end_tokens.h"
#include "src/compute/model/families.h"
#include "src/compute/model/rope_config.h"
#include "src/compute/tensor/config_file.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr int64_t kBlockLimit = 4096;
constexpr int64_t kExpertLimit = 1024;

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

absl::Status ReadActivation(ConfigReader& read, const std::string& where,
                            const Family& family, DecoderSpec& spec) {
  static const auto* known = new std::map<std::string, Activation>{
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh}};
  const std::string name =
      read.StringOr(family.keys.activation, family.activation);
  RETURN_IF_ERROR(read.status());
  const auto it = known->find(name);
  if (it == known->end()) {
    return absl::UnimplementedError(
        absl::StrCat(where, ": ", family.keys.activation, " \"", name,
                     "\" is not supported; supported: silu, gelu, gelu_new, "
                     "gelu_pytorch_tanh"));
  }
  spec.activation = it->second;
  return absl::OkStatus();
}

// Which blocks have a sliding window: layer_types where present, else the
// family's rule. A config without "sliding_window" gets transformers' default;
// an explicit null turns the window off.
absl::Status ReadWindows(const json& config, const std::string& where,
                         const Family& family, DecoderSpec& spec) {
  ConfigReader read(config, where);
  const int64_t window =
      config.contains("sliding_window") && !read.Has("sliding_window")
          ? 0
          : read.PositiveOr("sliding_window", family.window);
  const auto types = config.find("layer_types");
  const bool listed = types != config.end() && types->is_array();
  if (listed && types->size() != spec.blocks.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": \"layer_types\" has ", types->size(),
                     " entries for ", spec.blocks.size(), " layers"));
  }
  for (size_t b = 0; b < spec.blocks.size(); ++b) {
    bool slides = family.slides != nullptr &&
                  family.slides(read, static_cast<int64_t>(b));
    if (listed) {
      const json& type = types->at(b);
      slides = type == "sliding_attention";
      if (!slides && type != "full_attention") {
        return absl::UnimplementedError(absl::StrCat(
            where, ": layer type ", type.dump(), " is not supported"));
      }
    }
    spec.blocks[b].window = slides ? window : 0;
  }
  return read.status();
}

absl::Status ReadShape(const json& config, const std::string& where,
                       const Family& family, DecoderSpec& spec) {
  ConfigReader read(config, where);
  const ConfigKeys& keys = family.keys;
  spec.vocab_size = read.Positive("vocab_size");
  spec.d_model = read.Positive(keys.d_model);
  spec.d_mlp =
      family.mlp_factor > 0
          ? read.PositiveOr(keys.d_mlp, family.mlp_factor * spec.d_model)
          : read.Positive(keys.d_mlp);
  spec.head_count = read.Positive(keys.head_count);
  spec.kv_head_count = read.PositiveOr("num_key_value_heads", spec.head_count);
  spec.max_positions =
      read.PositiveOr(keys.max_positions, family.max_positions);
  spec.norm_eps = read.NumberOr(keys.norm_eps, family.norm_eps);
  spec.tied_unembed = read.BoolOr("tie_word_embeddings", family.tied_unembed);
  const int64_t block_count = read.Positive(keys.block_count);
  const int64_t per_head = spec.d_model / spec.head_count;
  spec.head_dim = read.PositiveOr(
      "head_dim",
      family.head_dim > 0 ? family.head_dim : std::max<int64_t>(per_head, 1));
  RETURN_IF_ERROR(read.status());
  if (block_count > kBlockLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": \"", keys.block_count, "\" ", block_count,
                     " is above the limit ", kBlockLimit));
  }
  if (spec.head_count % spec.kv_head_count != 0 || spec.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": ", keys.head_count, " ", spec.head_count,
        " must be a multiple of num_key_value_heads ", spec.kv_head_count,
        " and head_dim ", spec.head_dim, " must be even"));
  }
  spec.blocks.resize(static_cast<size_t>(block_count));
  return absl::OkStatus();
}

absl::Status CheckExperts(const std::string& where, const DecoderSpec& spec) {
  const ExpertsSpec& experts = spec.experts;
  if (experts.chosen <= experts.count && experts.count <= kExpertLimit) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": num_experts_per_tok ", experts.chosen,
                   " must be at most the number of experts ", experts.count,
                   ", and that at most ", kExpertLimit));
}

}  // namespace

bool DecoderSpec::uses_window_rope(int64_t block) const {
  return window_rope.has_value() &&
         blocks[static_cast<size_t>(block)].window > 0;
}

std::string DecoderSpec::InBlock(int64_t block, const std::string& name) const {
  return absl::StrCat(names.blocks, ".", block, ".", name);
}

std::vector<ModuleSpec> DecoderSpec::Modules(int64_t block,
                                             ProjectionGroup group) const {
  const bool is_mlp =
      group == ProjectionGroup::kGateUp || group == ProjectionGroup::kDown;
  if (is_mlp && blocks[static_cast<size_t>(block)].has_experts) return {};
  const std::vector<std::string>& own =
      names.modules[static_cast<size_t>(group)];
  std::vector<ModuleSpec> modules;
  for (const std::string& name : own) {
    int64_t width = OutWidth(group) / static_cast<int64_t>(own.size());
    if (group == ProjectionGroup::kQkv && own.size() == 3) {
      width = modules.empty() ? q_width() : kv_width();
    }
    modules.push_back({.name = InBlock(block, name), .out_width = width});
  }
  return modules;
}

int64_t DecoderSpec::InWidth(ProjectionGroup group) const {
  if (group == ProjectionGroup::kO) return q_width();
  return group == ProjectionGroup::kDown ? d_mlp : d_model;
}

int64_t DecoderSpec::OutWidth(ProjectionGroup group) const {
  if (group == ProjectionGroup::kQkv) return q_width() + 2 * kv_width();
  if (group == ProjectionGroup::kGateUp) return gated ? 2 * d_mlp : d_mlp;
  return d_model;
}

bool DecoderSpec::HasBias(ProjectionGroup group) const {
  if (group == ProjectionGroup::kQkv) return qkv_bias;
  return group == ProjectionGroup::kO ? o_bias : mlp_bias;
}

absl::StatusOr<DecoderSpec> ParseDecoderSpec(const json& config,
                                             const std::string& where) {
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not an object"));
  }
  DecoderSpec spec;
  ASSIGN_OR_RETURN(spec.architecture, ReadArchitecture(config, where));
  const Family* family = FindFamily(spec.architecture);
  if (family == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(where, ": architecture \"", spec.architecture,
                     "\" is not supported; supported: ",
                     absl::StrJoin(SupportedArchitectures(), ", ")));
  }
  RETURN_IF_ERROR(RefuseQuantisation(config, where));
  RETURN_IF_ERROR(ReadShape(config, where, *family, spec));
  ConfigReader read(config, where);
  RETURN_IF_ERROR(ReadActivation(read, where, *family, spec));
  if (family->has_rope) {
    RETURN_IF_ERROR(ReadRopes(config, where, *family, spec));
  }
  RETURN_IF_ERROR(ReadWindows(config, where, *family, spec));
  ASSIGN_OR_RETURN(spec.eos_token_ids, EndTokensOf(config, where));
  spec.stored_dtype = read.StringOr("torch_dtype", read.StringOr("dtype", ""));
  family->read(read, spec);
  RETURN_IF_ERROR(read.status());
  RETURN_IF_ERROR(CheckExperts(where, spec));
  return spec;
}

absl::StatusOr<DecoderSpec> ReadDecoderSpec(const std::string& dir) {
  ASSIGN_OR_RETURN(const ConfigText file, ReadModelConfig(dir));
  ASSIGN_OR_RETURN(const json config, ParseJson(file.text, file.path));
  return ParseDecoderSpec(config, file.path);
}

}  // namespace dissonance
