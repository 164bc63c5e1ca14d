#include "src/lab/interp/patch_record.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

Json RowsJson(const std::vector<PatchRow>& rows) {
  Json list = Json::array();
  for (const PatchRow& row : rows) {
    list.push_back(
        Json::array({static_cast<int>(row.site), row.block, row.head,
                     row.position, row.delta, row.pair_prob, row.flip}));
  }
  return list;
}

PatchRow RowOf(const Json& json) {
  return {.site = static_cast<v1::Site>(json.at(0).get<int>()),
          .block = json.at(1).get<int>(),
          .head = json.at(2).get<int>(),
          .position = json.at(3).get<int>(),
          .delta = json.at(4).get<double>(),
          .pair_prob = json.at(5).get<double>(),
          .flip = json.at(6).get<bool>()};
}

PatchedRun RunOf(const Json& json) {
  PatchedRun run;
  run.run.reversed = json.at("reversed").get<bool>();
  run.run.method = static_cast<v1::PatchMethod>(json.at("method").get<int>());
  run.delta_source = json.at("delta_source").get<double>();
  run.delta_target = json.at("delta_target").get<double>();
  run.pair_prob_target = json.at("pair_prob_target").get<double>();
  for (const Json& row : json.at("rows")) run.rows.push_back(RowOf(row));
  return run;
}

}  // namespace

absl::StatusOr<PatchedRun> PatchedRunOf(const PatchRun& run,
                                        const v1::PatchResponse& response) {
  if (response.results().empty()) {
    return absl::InternalError("Patch: no results came back");
  }
  const v1::PatchResult& first = response.results(0);
  PatchedRun patched{.run = run,
                     .delta_source = first.delta_source(),
                     .delta_target = first.delta_before(),
                     .pair_prob_target = first.pair_prob_before(),
                     .rows = {}};
  for (const v1::PatchResult& result : response.results()) {
    patched.rows.push_back(
        {.site = result.place().site(),
         .block = result.place().has_block() ? result.place().block() : -1,
         .head = result.has_head() ? result.head() : -1,
         .position = result.position(),
         .delta = result.delta_after(),
         .pair_prob = result.pair_prob_after(),
         .flip = result.flip()});
    if (!std::isfinite(result.delta_after()) ||
        !std::isfinite(result.delta_source()) ||
        !std::isfinite(result.delta_before())) {
      return absl::InternalError(absl::StrCat("Patch: the delta at position ",
                                              result.position(),
                                              " is not a finite number"));
    }
  }
  return patched;
}

std::string EncodePatches(const PatchedPrompt& prompt) {
  Json runs = Json::array();
  for (const PatchedRun& run : prompt.runs) {
    runs.push_back({{"reversed", run.run.reversed},
                    {"method", static_cast<int>(run.run.method)},
                    {"delta_source", run.delta_source},
                    {"delta_target", run.delta_target},
                    {"pair_prob_target", run.pair_prob_target},
                    {"rows", RowsJson(run.rows)}});
  }
  return ToJsonLine({{"id", prompt.id},
                     {"token_count", prompt.token_count},
                     {"runs", std::move(runs)}});
}

absl::StatusOr<PatchedPrompt> DecodePatches(absl::string_view text,
                                            absl::string_view where) {
  try {
    const Json json = Json::parse(text);
    PatchedPrompt prompt;
    prompt.id = json.at("id").get<std::string>();
    prompt.token_count = json.at("token_count").get<int>();
    for (const Json& run : json.at("runs")) {
      prompt.runs.push_back(RunOf(run));
    }
    return prompt;
  } catch (const Json::exception& e) {
    return absl::DataLossError(
        absl::StrCat(where, ": not a record of a patched prompt: ", e.what()));
  }
}

}  // namespace dissonance
