#include "src/lab/eval/mcq_record.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"

namespace dissonance {

std::string EncodeRecord(const McqRecord& record) {
  nlohmann::json variants = nlohmann::json::array();
  for (const VariantScores& variant : record.variants) {
    variants.push_back({{"scores", variant.scores},
                        {"dropout_samples", variant.dropout_samples}});
  }
  return ToJsonLine({{"id", record.id},
                     {"prompt_text", record.prompt.text},
                     {"prompt_tokens", record.prompt.tokens},
                     {"variants", std::move(variants)}});
}

absl::StatusOr<McqRecord> DecodeRecord(absl::string_view text,
                                       absl::string_view where) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    McqRecord record;
    record.id = json.at("id").get<std::string>();
    record.prompt.text = json.at("prompt_text").get<std::string>();
    record.prompt.tokens = json.at("prompt_tokens").get<std::vector<int32_t>>();
    for (const nlohmann::json& variant : json.at("variants")) {
      VariantScores scores;
      scores.scores = variant.at("scores").get<RawScores>();
      scores.dropout_samples =
          variant.at("dropout_samples").get<std::vector<RawScores>>();
      record.variants.push_back(std::move(scores));
    }
    return record;
  } catch (const nlohmann::json::exception& e) {
    return absl::DataLossError(absl::StrCat(
        where, ": not a record of an evaluated question: ", e.what()));
  }
}

}  // namespace dissonance
