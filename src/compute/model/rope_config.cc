#include "src/compute/model/rope_config.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/model/config_reader.h"

namespace dissonance {
namespace {

using nlohmann::json;

absl::Status ReadLlama3(ConfigReader& read, const std::string& place,
                        RopeSpec& rope) {
  rope.scaling = RopeSpec::Scaling::kLlama3;
  rope.factor = read.Number("factor");
  rope.low_freq_factor = read.Number("low_freq_factor");
  rope.high_freq_factor = read.Number("high_freq_factor");
  rope.original_max_positions = read.Number("original_max_position_embeddings");
  RETURN_IF_ERROR(read.status());
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return absl::InvalidArgumentError(absl::StrCat(
        place, ": high_freq_factor must be above low_freq_factor"));
  }
  return absl::OkStatus();
}

// What `parameters` says differently from `rope`.
absl::Status ReadParameters(const json& parameters, const std::string& place,
                            const Family& family, int64_t head_dim,
                            RopeSpec& rope) {
  if (!parameters.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, " must be an object"));
  }
  ConfigReader read(parameters, place);
  rope.theta = read.NumberOr("rope_theta", rope.theta);
  if (read.Has("partial_rotary_factor")) {
    const double part = read.Number("partial_rotary_factor");
    if (part != 1.0 && !family.reads_rope_part) {
      return absl::UnimplementedError(
          absl::StrCat(place, ": partial_rotary_factor is not supported"));
    }
    rope.width = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  }
  const std::string type =
      read.StringOr("rope_type", read.StringOr("type", "default"));
  if (type == "linear") {
    rope.scaling = RopeSpec::Scaling::kLinear;
    rope.factor = read.Number("factor");
  } else if (type == "llama3") {
    RETURN_IF_ERROR(ReadLlama3(read, place, rope));
  } else if (type != "default") {
    return absl::UnimplementedError(
        absl::StrCat(place, ": rope type \"", type,
                     "\" is not supported; supported: default, linear, "
                     "llama3"));
  }
  return read.status();
}

absl::Status CheckWidth(const RopeSpec& rope, const std::string& where) {
  if (rope.width >= 2 && rope.width % 2 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": the rotated part of a head has ", rope.width,
                   " components; it must be an even number"));
}

}  // namespace

absl::Status ReadRopes(const json& config, const std::string& where,
                       const Family& family, DecoderSpec& spec) {
  ConfigReader top(config, where);
  RopeSpec& rope = spec.rope;
  rope.theta = top.NumberOr(family.keys.rope_theta, family.rope_theta);
  const double part =
      family.reads_rope_part
          ? top.NumberOr(family.keys.rope_part, family.rope_part)
          : 1.0;
  rope.width = static_cast<int64_t>(static_cast<double>(spec.head_dim) * part);
  RETURN_IF_ERROR(top.status());
  const char* key =
      top.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!top.Has(key)) return CheckWidth(rope, where);
  const json& parameters = config.at(key);
  const std::string place = absl::StrCat(where, ": ", key);
  const auto read_into = [&](const json& from, const std::string& at,
                             RopeSpec& into) {
    return ReadParameters(from, at, family, spec.head_dim, into);
  };
  if (parameters.is_object() && parameters.contains("full_attention")) {
    if (parameters.contains("sliding_attention")) {
      spec.window_rope = RopeSpec{.width = rope.width};
      RETURN_IF_ERROR(read_into(parameters.at("sliding_attention"),
                                place + ".sliding_attention",
                                *spec.window_rope));
    }
    RETURN_IF_ERROR(read_into(parameters.at("full_attention"),
                              place + ".full_attention", rope));
  } else {
    RETURN_IF_ERROR(read_into(parameters, place, rope));
  }
  return CheckWidth(rope, where);
}

}  // namespace dissonance
