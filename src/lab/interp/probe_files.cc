#include "src/lab/interp/probe_files.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/interp/chart.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Calls `visit(probe)` for all.
template <typename Visit>
void ForEachProbe(const ProbesOutcome& outcome, Visit visit) {
  for (const internal::v1::ProbesRecord& place : outcome.places) {
    for (const v1::ProbeResult& probe : place.probes()) visit(probe);
  }
}

int InputCount(const v1::ProbeResult& probe) {
  return std::accumulate(probe.class_counts().begin(),
                         probe.class_counts().end(), 0);
}

void AddFigure(const char* name, bool has, const v1::FoldFigure& figure,
               Json& out) {
  const auto key = [name](const char* what) {
    return absl::StrCat(name, "_", what);
  };
  out[key("mean")] = has ? Json(figure.mean()) : Json();
  out[key("std")] = has ? Json(figure.deviation()) : Json();
  out[key("low")] = has && figure.has_low() ? Json(figure.low()) : Json();
  out[key("high")] = has && figure.has_high() ? Json(figure.high()) : Json();
}

// The shortest text that gives the same C again, so that no two share a name.
std::string CText(double c) {
  std::string text = absl::StrCat(c);
  double again = 0;
  for (int digits = 7; digits <= 17; ++digits) {
    if (absl::SimpleAtod(text, &again) && again == c) break;
    text = absl::StrFormat("%.*g", digits, c);
  }
  return text;
}

// As probes.json has it.
Json FiguresJson(const v1::ProbeResult& probe) {
  Json out = {{"n", InputCount(probe)},
              {"folds", probe.accuracy().folds_size()},
              {"status", ProbeStatusJson(probe)},
              {"dummy_auc_mean", nullptr},
              {"dummy_auc_std", nullptr},
              {"p_value", nullptr}};
  AddFigure("auc", probe.has_auc(), probe.auc(), out);
  AddFigure("accuracy", probe.has_accuracy(), probe.accuracy(), out);
  if (probe.has_dummy_auc_mean()) {
    out["dummy_auc_mean"] = probe.dummy_auc_mean();
    out["dummy_auc_std"] = probe.dummy_auc_deviation();
  }
  if (probe.has_p_value()) out["p_value"] = probe.p_value();
  return out;
}

Json FoldsJson(const v1::FoldFigure& figure) {
  return std::vector<double>(figure.folds().begin(), figure.folds().end());
}

Json TransferRow(const ProbesOutcome& outcome, const v1::ProbeResult& probe,
                 const v1::ProbeTransfer& transfer) {
  Json row = ProbePlaceJson(outcome, probe);
  row["trained_on"] = row["variant"];
  row["tested_on"] =
      outcome.variants[static_cast<size_t>(transfer.variant_index())];
  AddFigure("auc", transfer.has_auc(), transfer.auc(), row);
  AddFigure("accuracy", transfer.has_accuracy(), transfer.accuracy(), row);
  return row;
}

// As probes.jsonl has it: all but weights and decisions.
Json FlatJson(const ProbesOutcome& outcome, const v1::ProbeResult& probe) {
  Json out = ProbePlaceJson(outcome, probe);
  out.update(FiguresJson(probe));
  out["name"] = ProbeName(outcome, probe);
  out["auc_folds"] = FoldsJson(probe.auc());
  out["accuracy_folds"] = FoldsJson(probe.accuracy());
  out["split_auc"] = probe.has_split_auc() ? Json(probe.split_auc()) : Json();
  out["split_accuracy"] =
      probe.has_split_accuracy() ? Json(probe.split_accuracy()) : Json();
  out["class_counts"] = std::vector<int>(probe.class_counts().begin(),
                                         probe.class_counts().end());
  out["residual_norm"] = probe.residual_norm();
  out["converged"] = probe.converged();
  out["iteration_count"] = probe.iteration_count();
  out["gradient_max"] = probe.gradient_max();
  out["note"] = probe.note();
  out["transfers"] = Json::array();
  for (const v1::ProbeTransfer& transfer : probe.transfers()) {
    Json figures = TransferRow(outcome, probe, transfer);
    out["transfers"].push_back({{"variant", figures["tested_on"]},
                                {"auc_mean", figures["auc_mean"]},
                                {"accuracy_mean", figures["accuracy_mean"]}});
  }
  return out;
}

std::string ProbesFile(const ProbesOutcome& outcome) {
  Json document = Json::object();
  ForEachProbe(outcome, [&](const v1::ProbeResult& probe) {
    const Json where = ProbePlaceJson(outcome, probe);
    std::string place = where["place"].get<std::string>();
    if (outcome.has_several_c) absl::StrAppend(&place, ".c", CText(probe.c()));
    document[where["target"].get<std::string>()]
            [where["variant"].get<std::string>()][place] = FiguresJson(probe);
  });
  return JsonDocument(document);
}

std::string FoldsFile(const ProbesOutcome& outcome) {
  Json document = Json::object();
  for (const internal::v1::ProbesRecord& place : outcome.places) {
    for (const v1::ProbeFolds& folds : place.folds()) {
      Json by_id = Json::object();
      for (int i = 0; i < folds.fold_of_input_size(); ++i) {
        by_id[outcome.set.inputs[static_cast<size_t>(i)].id()] =
            folds.fold_of_input(i);
      }
      Json split = Json::array();
      for (const int32_t input : folds.split_inputs()) {
        split.push_back(outcome.set.inputs[static_cast<size_t>(input)].id());
      }
      const auto target = static_cast<size_t>(folds.target_index());
      const auto variant = static_cast<size_t>(folds.variant_index());
      document[outcome.questions[target].name][outcome.variants[variant]] = {
          {"fold_of_input", std::move(by_id)},
          {"split_inputs", std::move(split)}};
    }
  }
  return JsonDocument(document);
}

std::string DecisionsFile(const ProbesOutcome& outcome) {
  // By target, variant and input.
  std::map<std::pair<int, int>, std::vector<Json>> decisions;
  ForEachProbe(outcome, [&](const v1::ProbeResult& probe) {
    if (probe.decisions().empty()) return;
    std::vector<Json>& rows =
        decisions[{probe.target_index(), probe.variant_index()}];
    rows.resize(outcome.set.inputs.size(), Json::object());
    std::string place = PlaceName(probe.place());
    if (outcome.has_several_c) absl::StrAppend(&place, ".c", CText(probe.c()));
    for (int i = 0; i < probe.decisions_size(); ++i) {
      const double decision = probe.decisions(i);
      if (std::isfinite(decision)) {
        rows[static_cast<size_t>(i)][place] = decision;
      }
    }
  });
  std::vector<Json> lines;
  for (auto& [key, rows] : decisions) {
    const auto [target, variant] = key;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].empty()) continue;
      lines.push_back(
          {{"id", outcome.set.inputs[i].id()},
           {"target", outcome.questions[static_cast<size_t>(target)].name},
           {"variant", outcome.variants[static_cast<size_t>(variant)]},
           {"label", ClassJson(outcome, target, variant, static_cast<int>(i))},
           {"decisions", std::move(rows[i])}});
    }
  }
  return LinesFile(lines);
}

}  // namespace

std::string ProbeName(const ProbesOutcome& outcome,
                      const v1::ProbeResult& probe) {
  return absl::StrCat(
      outcome.questions[static_cast<size_t>(probe.target_index())].name, ".",
      probe.variant_index(), ".", PlaceName(probe.place()), ".c",
      CText(probe.c()));
}

Json ProbeStatusJson(const v1::ProbeResult& probe) {
  switch (probe.verdict()) {
    case v1::PROBE_VERDICT_SIGNAL:
      return "SIGNAL";
    case v1::PROBE_VERDICT_LEAK:
      return "LEAK?";
    case v1::PROBE_VERDICT_NONE:
      return "NONE";
    default:
      return nullptr;
  }
}

Json ProbePlaceJson(const ProbesOutcome& outcome,
                    const v1::ProbeResult& probe) {
  const v1::SiteRef& place = probe.place();
  return {
      {"target",
       outcome.questions[static_cast<size_t>(probe.target_index())].name},
      {"variant", outcome.variants[static_cast<size_t>(probe.variant_index())]},
      {"variant_index", probe.variant_index()},
      {"place", PlaceName(place)},
      {"site", SiteName(place.site())},
      {"block", IsInBlocks(place.site()) ? Json(place.block()) : Json()},
      {"c", probe.c()}};
}

Json ClassJson(const ProbesOutcome& outcome, int target, int variant,
               int input) {
  const v1::ProbeLabels& labels =
      outcome.labels[static_cast<size_t>(target)][static_cast<size_t>(variant)];
  if (!labels.values().empty()) {
    const double value = labels.values(input);
    return std::isfinite(value) ? Json(value) : Json();
  }
  const int32_t own = labels.classes(input);
  if (own < 0) return nullptr;
  return outcome.questions[static_cast<size_t>(target)]
      .class_names[static_cast<size_t>(own)];
}

std::vector<JobFile> ProbeFiles(const ProbesOutcome& outcome) {
  std::vector<Json> flat;
  std::vector<Json> transfers;
  ForEachProbe(outcome, [&](const v1::ProbeResult& probe) {
    flat.push_back(FlatJson(outcome, probe));
    for (const v1::ProbeTransfer& transfer : probe.transfers()) {
      transfers.push_back(TransferRow(outcome, probe, transfer));
    }
  });
  std::vector<JobFile> files;
  files.push_back({"probes.json", ProbesFile(outcome)});
  files.push_back({"probes.jsonl", LinesFile(flat)});
  files.push_back({"probes.safetensors", ProbeWeightsFile(outcome)});
  files.push_back({"folds.json", FoldsFile(outcome)});
  // Several classes have a decision each, of which the worker sends none.
  std::string decisions = DecisionsFile(outcome);
  if (!decisions.empty()) {
    files.push_back({"decisions.jsonl", std::move(decisions)});
  }
  files.push_back(
      {"auc.csv", CsvFile({"target", "variant", "place", "site", "block", "c",
                           "n", "auc_mean", "auc_std", "auc_low", "auc_high",
                           "accuracy_mean", "accuracy_std", "dummy_auc_mean",
                           "dummy_auc_std", "p_value", "status"},
                          flat)});
  if (!outcome.is_ridge) files.push_back({"auc.vl.json", AucChartFile(flat)});
  if (!transfers.empty()) {
    files.push_back(
        {"transfer.csv",
         CsvFile({"target", "trained_on", "tested_on", "place", "site", "block",
                  "c", "auc_mean", "auc_std", "accuracy_mean", "accuracy_std"},
                 transfers)});
  }
  for (JobFile& file : ComponentFiles(outcome)) {
    files.push_back(std::move(file));
  }
  files.push_back({"summary.json", ProbeSummaryFile(outcome)});
  return files;
}

}  // namespace dissonance
