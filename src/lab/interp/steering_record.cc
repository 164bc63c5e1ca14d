#include "src/lab/interp/steering_record.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

Json SettingJson(const SteeringSetting& setting) {
  return {{"phase", SteeringPhaseName(setting.phase)},
          {"direction", setting.direction},
          {"block", setting.block},
          {"positions", PositionSetName(setting.positions)},
          {"coefficient", setting.coefficient}};
}

Json TokensJson(const std::vector<MeteredToken>& tokens) {
  Json list = Json::array();
  for (const MeteredToken& token : tokens) {
    list.push_back(
        {{"text", token.text},
         {"projection",
          token.projection.has_value() ? Json(*token.projection) : Json()}});
  }
  return list;
}

std::vector<MeteredToken> TokensOf(const Json& sample, const char* field) {
  std::vector<MeteredToken> tokens;
  if (!sample.contains(field)) return tokens;
  for (const Json& each : sample.at(field)) {
    MeteredToken& token =
        tokens.emplace_back(each.at("text").get<std::string>());
    if (!each.at("projection").is_null()) {
      token.projection = each.at("projection").get<double>();
    }
  }
  return tokens;
}

// What `read` makes of the text's JSON.
template <typename T, typename Read>
absl::StatusOr<T> Decode(absl::string_view text, absl::string_view where,
                         const Read& read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& e) {
    return absl::DataLossError(
        absl::StrCat(where, ": not a record of a steering sweep: ", e.what()));
  }
}

}  // namespace

std::string EncodeNorms(const SteeringNorms& norms) {
  Json blocks = Json::object();
  for (const auto& [block, norm] : norms) blocks[absl::StrCat(block)] = norm;
  return ToJsonLine({{"norms", std::move(blocks)}});
}

absl::StatusOr<SteeringNorms> DecodeNorms(absl::string_view text,
                                          absl::string_view where) {
  return Decode<SteeringNorms>(text, where, [](const Json& json) {
    SteeringNorms norms;
    for (const auto& [block, norm] : json.at("norms").items()) {
      int number = 0;
      if (absl::SimpleAtoi(block, &number)) norms[number] = norm.get<double>();
    }
    return norms;
  });
}

std::string EncodeResult(const SteeringResult& result) {
  return ToJsonLine(
      {{"setting", SettingJson(result.setting)}, {"answers", result.answers}});
}

absl::StatusOr<SteeringResult> DecodeResult(absl::string_view text,
                                            const SteeringSetting& setting,
                                            size_t item_count,
                                            absl::string_view where) {
  Json stored;
  ASSIGN_OR_RETURN(SteeringResult result,
                   Decode<SteeringResult>(text, where, [&](const Json& json) {
                     stored = json.at("setting");
                     return SteeringResult{
                         setting,
                         json.at("answers").get<std::vector<OptionLogprobs>>()};
                   }));
  if (stored == SettingJson(setting) && result.answers.size() == item_count) {
    return result;
  }
  return absl::DataLossError(absl::StrCat(
      where, ": ", result.answers.size(), " answers at ", stored.dump(),
      ", expected ", item_count, " at ", SettingJson(setting).dump()));
}

Json SampleJson(const SteeringSample& sample) {
  Json json = {{"id", sample.id},
               {"unsteered", sample.unsteered},
               {"steered", sample.steered}};
  if (!sample.unsteered_tokens.empty() || !sample.steered_tokens.empty()) {
    json["unsteered_tokens"] = TokensJson(sample.unsteered_tokens);
    json["steered_tokens"] = TokensJson(sample.steered_tokens);
  }
  return json;
}

std::string EncodeSamples(const std::vector<SteeringSample>& samples) {
  Json list = Json::array();
  for (const SteeringSample& sample : samples) {
    list.push_back(SampleJson(sample));
  }
  return ToJsonLine({{"samples", std::move(list)}});
}

absl::StatusOr<std::vector<SteeringSample>> DecodeSamples(
    absl::string_view text, absl::string_view where) {
  using Samples = std::vector<SteeringSample>;
  return Decode<Samples>(text, where, [](const Json& json) {
    Samples samples;
    for (const Json& each : json.at("samples")) {
      samples.push_back({each.at("id").get<std::string>(),
                         each.at("unsteered").get<std::string>(),
                         each.at("steered").get<std::string>(),
                         TokensOf(each, "unsteered_tokens"),
                         TokensOf(each, "steered_tokens")});
    }
    return samples;
  });
}

}  // namespace dissonance
