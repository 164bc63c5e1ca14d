#include "src/lab/interp/patch_files.h"

#include <algorithm>
#include <string>
#include <utility>

#include "src/base/sha256.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/interp/patch_map.h"
#include "src/lab/interp/steering_plan.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr char kSchema[] = "https://vega.github.io/schema/vega-lite/v5.json";
constexpr int kCellSize = 30;

Json NumberOrNull(int value) { return value < 0 ? Json() : Json(value); }

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json();
}

std::string LinesOf(absl::Span<const PatchedPrompt> prompts) {
  std::vector<Json> lines;
  for (const PatchedPrompt& prompt : prompts) {
    for (const PatchedRun& run : prompt.runs) {
      for (const PatchRow& row : run.rows) {
        lines.push_back({{"id", prompt.id},
                         {"direction", PatchDirectionName(run.run.reversed)},
                         {"method", PatchMethodName(run.run.method)},
                         {"site", SiteName(row.site)},
                         {"block", NumberOrNull(row.block)},
                         {"head", NumberOrNull(row.head)},
                         {"position", row.position},
                         {"offset", row.position - prompt.token_count},
                         {"delta_before", run.delta_target},
                         {"delta_after", row.delta},
                         {"delta_source", run.delta_source},
                         {"pair_prob_before", run.pair_prob_target},
                         {"pair_prob_after", row.pair_prob},
                         {"effect", OrNull(PatchEffect(run, row))},
                         {"flip", row.flip}});
      }
    }
  }
  return LinesFile(lines);
}

Json CellJson(const PatchPlace& place, const PatchCell& cell) {
  return {{"direction", PatchDirectionName(place.reversed)},
          {"method", PatchMethodName(place.method)},
          {"site", SiteName(place.site)},
          {"block", NumberOrNull(place.block)},
          {"head", NumberOrNull(place.head)},
          {"offset", place.offset},
          {"effect", OrNull(cell.effect)},
          {"effect_n", cell.effect_count},
          {"delta_after", cell.delta},
          {"flips", cell.flip_count},
          {"n", cell.prompt_count}};
}

// A heat map over `x` and block, for each site and direction.
std::string Chart(const char* title, const char* x, const char* x_title,
                  Json values) {
  Json layers = Json::array({{{"mark", "rect"},
                              {"encoding",
                               {{"color",
                                 {{"field", "effect"},
                                  {"type", "quantitative"},
                                  {"title", "share of the way"},
                                  {"scale",
                                   {{"scheme", "redblue"},
                                    {"domain", {-1, 1}},
                                    {"reverse", true}}}}}}}},
                             {{"mark", {{"type", "text"}, {"fontSize", 8}}},
                              {"encoding",
                               {{"text",
                                 {{"field", "effect"},
                                  {"type", "quantitative"},
                                  {"format", ".2f"}}}}}}});
  const Json encoding = {
      {"x", {{"field", x}, {"type", "ordinal"}, {"title", x_title}}},
      {"y",
       {{"field", "block"},
        {"type", "ordinal"},
        {"title", "block"},
        {"sort", "descending"}}}};
  return JsonDocument(
      {{"$schema", kSchema},
       {"title", title},
       {"data", {{"values", std::move(values)}}},
       {"facet",
        {{"row", {{"field", "site"}, {"title", "site"}}},
         {"column", {{"field", "direction"}, {"title", "direction"}}}}},
       {"spec",
        {{"width", {{"step", kCellSize}}},
         {"height", {{"step", kCellSize}}},
         {"encoding", encoding},
         {"layer", std::move(layers)}}}});
}

void AddMap(const PatchPlan& plan, const PatchMap& map,
            std::vector<JobFile>& files) {
  const std::vector<std::string> columns = {
      "direction", "method",   "site",        "block", "offset",
      "effect",    "effect_n", "delta_after", "flips", "n"};
  std::vector<Json> rows;
  Json values = Json::array();
  for (const auto& [place, cell] : map) {
    if (place.head >= 0) continue;
    rows.push_back(CellJson(place, cell));
    if (place.method == plan.main_method) values.push_back(rows.back());
  }
  files.push_back({"map.csv", CsvFile(columns, rows)});
  files.push_back(
      {"map.vl.json",
       Chart("Where patches carry the answer over (mean over prompts)",
             "offset", "position from the end (-1: the decision token)",
             std::move(values))});
}

void AddHeads(const PatchPlan& plan, const PatchMap& map,
              std::vector<JobFile>& files) {
  const std::vector<std::string> columns = {
      "direction", "method",   "site",        "block", "head", "offset",
      "effect",    "effect_n", "delta_after", "flips", "n"};
  std::vector<Json> rows;
  int last = 0;  // offset; negative once known
  for (const auto& [place, cell] : map) {
    if (place.head < 0) continue;
    rows.push_back(CellJson(place, cell));
    last = last == 0 ? place.offset : std::max(last, place.offset);
  }
  if (rows.empty()) return;
  Json values = Json::array();
  for (const Json& row : rows) {
    if (row.at("offset") == last &&
        row.at("method") == PatchMethodName(plan.main_method)) {
      values.push_back(row);
    }
  }
  files.push_back({"heads.csv", CsvFile(columns, rows)});
  files.push_back(
      {"heads.vl.json", Chart("Which heads carry the answer over, at the last "
                              "position patched (mean over prompts)",
                              "head", "head", std::move(values))});
}

void AddAgreement(absl::Span<const PatchedPrompt> prompts,
                  std::vector<JobFile>& files) {
  Json list = Json::array();
  for (const auto& [key, agreement] : AgreementOf(prompts)) {
    list.push_back({{"direction", PatchDirectionName(key.first)},
                    {"site", SiteName(key.second)},
                    {"n", agreement.count},
                    {"pearson", OrNull(agreement.pearson)},
                    {"spearman", OrNull(agreement.spearman)},
                    {"reason", agreement.pearson.has_value()
                                   ? Json()
                                   : Json("the effects of one of both are all "
                                          "equal")}});
  }
  if (list.empty()) return;
  files.push_back({"attribution.json",
                   JsonDocument({{"compared", "change of logit A - logit B"},
                                 {"agreement", std::move(list)}})});
}

}  // namespace

std::vector<JobFile> PatchFiles(const PatchPlan& plan,
                                absl::Span<const PatchedPrompt> prompts) {
  const PatchMap map = MapOf(prompts);
  std::vector<JobFile> files = {{"patch.jsonl", LinesOf(prompts)}};
  AddMap(plan, map, files);
  AddHeads(plan, map, files);
  AddAgreement(prompts, files);
  return files;
}

Json PatchManifest(const v1::PatchSweepSpec& spec, const PatchPlan& plan,
                   size_t prompt_count,
                   absl::Span<const v1::Provenance> provenance) {
  Json sites = Json::array();
  for (const int site : plan.request.sites()) {
    sites.push_back(SiteName(static_cast<v1::Site>(site)));
  }
  Json candidates = Json::array();
  for (const v1::Candidate& each : plan.request.candidates()) {
    candidates.push_back(
        {{"name", each.name()}, {"token_id", each.token_id()}});
  }
  return {{"kind", "patch_sweep"},
          {"data",
           {{"name", spec.data_name()},
            {"sha256", Sha256Of(spec.data())},
            {"prompt_count", prompt_count}}},
          {"scoring", McqScoringName(plan.scoring)},
          {"sites", std::move(sites)},
          {"each_head", spec.each_head()},
          {"both_directions", spec.both_directions()},
          {"method", PatchMethodName(plan.main_method)},
          {"candidates", std::move(candidates)},
          {"source", VariantJson(spec.source(), provenance[0])},
          {"target", VariantJson(spec.target(), provenance[1])}};
}

}  // namespace dissonance
