#include "src/lab/answers/open_record.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

Json AnswerJson(const OpenAnswer& answer) {
  return {{"text", answer.text},
          {"finish_reason", answer.finish_reason},
          {"seed", answer.seed},
          {"token_ids", answer.token_ids},
          {"token_logprobs", answer.token_logprobs}};
}

OpenAnswer AnswerOf(const Json& json) {
  return {
      .text = json.at("text").get<std::string>(),
      .finish_reason = json.at("finish_reason").get<std::string>(),
      .seed = json.at("seed").get<uint64_t>(),
      .token_ids = json.at("token_ids").get<std::vector<int32_t>>(),
      .token_logprobs = json.at("token_logprobs").get<std::vector<double>>()};
}

}  // namespace

std::string EncodeRecord(const OpenRecord& record) {
  Json variants = Json::array();
  for (const std::vector<OpenAnswer>& samples : record.answers) {
    Json& own = variants.emplace_back(Json::array());
    for (const OpenAnswer& answer : samples) own.push_back(AnswerJson(answer));
  }
  return ToJsonLine({{"id", record.id}, {"answers", std::move(variants)}});
}

absl::StatusOr<OpenRecord> DecodeOpenRecord(absl::string_view text,
                                            absl::string_view where) {
  try {
    const Json json = Json::parse(text);
    OpenRecord record;
    record.id = json.at("id").get<std::string>();
    for (const Json& samples : json.at("answers")) {
      std::vector<OpenAnswer>& own = record.answers.emplace_back();
      for (const Json& answer : samples) own.push_back(AnswerOf(answer));
    }
    return record;
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat(
        where, ": not a record of an answered question: ", e.what()));
  }
}

}  // namespace dissonance
