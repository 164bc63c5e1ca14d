#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/interp/chart.h"
#include "src/lab/interp/probe_files.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Gates of the pipeline.
constexpr double kPassAuc = 0.7;
constexpr double kAbortAuc = 0.6;
constexpr double kPassGain = 0.2;
constexpr double kAbortGain = 0.1;
// Of conflict_vs_hard, which is harder than conflict against everything.
constexpr double kPassHardAuc = 0.65;

// "pass", "warn" or "abort".
const char* Gate(double value, double pass, double abort) {
  return value > pass ? "pass" : value < abort ? "abort" : "warn";
}

// Number `index` of a tensor of float32 or float64.
double NumberAt(const v1::Tensor& tensor, int64_t index) {
  const bool wide = tensor.dtype() == v1::DTYPE_FLOAT64;
  const size_t offset = static_cast<size_t>(index) * (wide ? 8 : 4);
  if (offset + (wide ? 8 : 4) > tensor.data().size()) return 0;
  double value = 0;
  float narrow = 0;
  if (wide) {
    std::memcpy(&value, tensor.data().data() + offset, sizeof(value));
    return value;
  }
  std::memcpy(&narrow, tensor.data().data() + offset, sizeof(narrow));
  return narrow;
}

// Rows of a place's map, by variant and then input.
std::vector<Json> MapRows(const ProbesOutcome& outcome,
                          const v1::PrincipalComponents& components) {
  const int inputs = static_cast<int>(outcome.set.inputs.size());
  const int count = components.variances_size();
  std::vector<Json> rows;
  for (int v = 0; v < static_cast<int>(outcome.variants.size()); ++v) {
    for (int i = 0; i < inputs; ++i) {
      Json row = {{"place", PlaceName(components.place())},
                  {"variant", outcome.variants[static_cast<size_t>(v)]},
                  {"id", outcome.set.inputs[static_cast<size_t>(i)].id()}};
      for (int t = 0; t < static_cast<int>(outcome.questions.size()); ++t) {
        const Json label = ClassJson(outcome, t, v, i);
        row[absl::StrCat(
            "class_", outcome.questions[static_cast<size_t>(t)].name)] = label;
      }
      for (int c = 0; c < count; ++c) {
        row[absl::StrCat("pc", c + 1)] =
            NumberAt(components.projections(),
                     (static_cast<int64_t>(v) * inputs + i) * count + c);
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::string MapChartFile(const ProbesOutcome& outcome,
                         const std::vector<Json>& rows) {
  Json chart = Chart("Principal components of all rows", rows);
  chart["facet"] = Axis("place", "nominal", "place");
  chart["columns"] = 3;
  chart["spec"] = {
      {"width", 220},
      {"height", 220},
      {"mark", {{"type", "point"}, {"filled", true}}},
      {"encoding",
       {{"x", Axis("pc1", "quantitative", "first component")},
        {"y", Axis("pc2", "quantitative", "second component")},
        {"color", Axis(absl::StrCat("class_", outcome.questions.front().name),
                       outcome.is_ridge ? "quantitative" : "nominal",
                       outcome.questions.front().name)},
        {"shape", Axis("variant", "nominal", "variant")},
        {"tooltip", {{{"field", "id"}}, {{"field", "variant"}}}}}}};
  chart["resolve"] = {{"scale", {{"x", "independent"}, {"y", "independent"}}}};
  return JsonDocument(chart);
}

struct Best {
  const v1::ProbeResult* probe = nullptr;
  double auc = 0;
};

Json BestJson(const ProbesOutcome& outcome, const v1::ProbeResult& probe) {
  Json best = ProbePlaceJson(outcome, probe);
  best["auc_mean"] = probe.auc().mean();
  best["dummy_auc_mean"] =
      probe.has_dummy_auc_mean() ? Json(probe.dummy_auc_mean()) : Json();
  best["p_value"] = probe.has_p_value() ? Json(probe.p_value()) : Json();
  best["status"] = ProbeStatusJson(probe);
  return best;
}

Json GatesJson(const ProbesOutcome& outcome, const v1::ProbeResult& probe) {
  const bool is_hard =
      outcome.questions[static_cast<size_t>(probe.target_index())].name ==
      "conflict_vs_hard";
  const double pass = is_hard ? kPassHardAuc : kPassAuc;
  Json gates = {{"internal_signal",
                 {{"auc", probe.auc().mean()},
                  {"pass_above", pass},
                  {"abort_below", kAbortAuc},
                  {"verdict", Gate(probe.auc().mean(), pass, kAbortAuc)}}},
                {"signal_against_noise", nullptr}};
  if (probe.has_dummy_auc_mean()) {
    const double gain = probe.auc().mean() - probe.dummy_auc_mean();
    gates["signal_against_noise"] = {
        {"auc_minus_dummy", gain},
        {"pass_above", kPassGain},
        {"abort_below", kAbortGain},
        {"verdict", Gate(gain, kPassGain, kAbortGain)}};
  }
  // A gate asks for less than the verdict of the place that it rests on, which
  // may be NONE where the gate passes.
  for (Json& gate : gates) {
    if (gate.is_null()) continue;
    gate["place_status"] = ProbeStatusJson(probe);
    gate["place_p_value"] =
        probe.has_p_value() ? Json(probe.p_value()) : Json();
  }
  return gates;
}

}  // namespace

std::string ProbeWeightsFile(const ProbesOutcome& outcome) {
  std::vector<TensorEntry> entries;
  std::string data;
  Json figures = Json::object();
  const auto add = [&](const std::string& name, const v1::Tensor& tensor) {
    if (tensor.data().empty()) return;
    entries.push_back(
        {name, tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}});
    data += tensor.data();
  };
  for (const internal::v1::ProbesRecord& place : outcome.places) {
    for (const v1::ProbeResult& probe : place.probes()) {
      const std::string name = ProbeName(outcome, probe);
      add(name + ".direction", probe.direction());
      add(name + ".weight", probe.weights().weight());
      add(name + ".mean", probe.weights().mean());
      add(name + ".scale", probe.weights().scale());
      Json own = ProbePlaceJson(outcome, probe);
      own["norm"] = probe.direction_norm();
      own["bias"] = probe.direction_bias();
      own["residual_norm"] = probe.residual_norm();
      own["intercepts"] =
          std::vector<double>(probe.weights().intercepts().begin(),
                              probe.weights().intercepts().end());
      figures[name] = std::move(own);
    }
  }
  return SafetensorsHeader(entries,
                           {{"format", "pt"}, {"probes", figures.dump()}}) +
         data;
}

std::vector<JobFile> ComponentFiles(const ProbesOutcome& outcome) {
  std::vector<Json> rows;
  Json variances = Json::object();
  int count = 0;
  for (const internal::v1::ProbesRecord& place : outcome.places) {
    if (!place.has_components()) continue;
    const v1::PrincipalComponents& own = place.components();
    count = std::max(count, own.variances_size());
    variances[PlaceName(own.place())] = {
        {"variances",
         std::vector<double>(own.variances().begin(), own.variances().end())},
        {"variance_shares", std::vector<double>(own.variance_shares().begin(),
                                                own.variance_shares().end())}};
    for (Json& row : MapRows(outcome, own)) rows.push_back(std::move(row));
  }
  if (rows.empty()) return {};
  std::vector<std::string> columns = {"place", "variant", "id"};
  for (const ProbeQuestion& question : outcome.questions) {
    columns.push_back(absl::StrCat("class_", question.name));
  }
  for (int c = 1; c <= count; ++c) columns.push_back(absl::StrCat("pc", c));
  return {{"pca.json", JsonDocument(variances)},
          {"pca.jsonl", LinesFile(rows)},
          {"pca.csv", CsvFile(columns, rows)},
          {"pca.vl.json", MapChartFile(outcome, rows)}};
}

std::string AucChartFile(const std::vector<Json>& rows) {
  Json in_blocks = Json::array();
  for (const Json& row : rows) {
    if (row["block"].is_null()) continue;
    Json point = Json::object();
    for (const char* key :
         {"target", "variant", "site", "block", "c", "auc_mean", "auc_low",
          "auc_high", "dummy_auc_mean"}) {
      point[key] = row[key];
    }
    in_blocks.push_back(std::move(point));
  }
  const Json x = BlockAxis();
  const Json color = Axis("variant", "nominal", "variant");
  const auto auc = [](const char* field) {
    Json axis = Axis(field, "quantitative", "AUC");
    axis["scale"] = {{"domain", {0, 1}}};
    return axis;
  };
  const Json band = {{"mark", {{"type", "area"}, {"opacity", 0.15}}},
                     {"encoding",
                      {{"x", x},
                       {"y", auc("auc_low")},
                       {"y2", {{"field", "auc_high"}}},
                       {"color", color}}}};
  const Json line = {
      {"mark", {{"type", "line"}, {"point", true}}},
      {"encoding", {{"x", x}, {"y", auc("auc_mean")}, {"color", color}}}};
  const Json dummy = {
      {"mark", {{"type", "line"}, {"strokeDash", {4, 4}}}},
      {"encoding", {{"x", x}, {"y", auc("dummy_auc_mean")}, {"color", color}}}};
  Json chart = Chart(
      "AUC by block (band: 95 % bootstrap interval; dashed: shuffled labels)",
      std::move(in_blocks));
  chart["facet"] = {{"row", Axis("target", "nominal", "target")},
                    {"column", Axis("site", "nominal", "site")}};
  chart["spec"] = {{"width", 320},
                   {"height", 200},
                   {"layer", Json::array({band, line, dummy})}};
  return JsonDocument(chart);
}

std::string ProbeSummaryFile(const ProbesOutcome& outcome) {
  Json targets = Json::object();
  for (const ProbeQuestion& question : outcome.questions) {
    targets[question.name] = {{"best", nullptr}, {"gates", nullptr}};
  }
  std::map<std::pair<int, int>, Best> best;  // of each target and variant
  for (const internal::v1::ProbesRecord& place : outcome.places) {
    for (const v1::ProbeResult& probe : place.probes()) {
      if (!probe.has_auc()) continue;
      Best& own = best[{probe.target_index(), probe.variant_index()}];
      if (own.probe != nullptr && probe.auc().mean() <= own.auc) continue;
      own = {&probe, probe.auc().mean()};
    }
  }
  std::map<int, Best> overall;
  for (const auto& [key, own] : best) {
    Json& target =
        targets[outcome.questions[static_cast<size_t>(key.first)].name];
    target["best_by_variant"]
          [outcome.variants[static_cast<size_t>(key.second)]] =
              BestJson(outcome, *own.probe);
    Best& all = overall[key.first];
    if (all.probe == nullptr || own.auc > all.auc) all = own;
  }
  for (const auto& [index, own] : overall) {
    Json& target = targets[outcome.questions[static_cast<size_t>(index)].name];
    target["best"] = BestJson(outcome, *own.probe);
    target["gates"] = GatesJson(outcome, *own.probe);
  }
  Json skipped = Json::array();
  for (const SkippedProbe& each : outcome.skipped) {
    skipped.push_back(
        {{"target", outcome.questions[static_cast<size_t>(each.target)].name},
         {"variant", outcome.variants[static_cast<size_t>(each.variant)]},
         {"reason", each.reason}});
  }
  const PromptGroups groups = GroupsOf(outcome.set);
  return JsonDocument({{"rows",
                        {{"count", groups.row_count},
                         {"group_count", groups.group_count},
                         {"text", groups.text}}},
                       {"targets", std::move(targets)},
                       {"skipped", std::move(skipped)}});
}

}  // namespace dissonance
