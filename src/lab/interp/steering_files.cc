#include "src/lab/interp/steering_files.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/steering_requests.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/tensors/intervention_words.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Adds NAME, NAME_n and NAME_interval_95 under `stem`.
void AddShare(const SteeringShare& share, const std::string& name,
              const std::string& stem, Json& json) {
  const std::optional<double> value = share.share();
  json[name] = value.has_value() ? Json(*value) : Json();
  json[absl::StrCat(stem, "_n")] = share.total;
  json[absl::StrCat(stem, "_interval_95")] =
      value.has_value() ? IntervalJson(share.interval()) : Json();
}

Json FiguresJson(const SteeringOutcome& outcome, const SteeringResult& result) {
  const SteeringFigures figures =
      FiguresOf(outcome.plan, outcome.results.front().answers, result.answers);
  Json json = {
      {"n", outcome.plan.items.size()},
      {"damage", figures.damage},
      {"damage_added", figures.damage_added},
      {"controls_hold",
       figures.control.total == 0 ? Json() : Json(figures.controls_hold)}};
  AddShare(figures.belief, "belief_rate", "belief", json);
  AddShare(figures.returned, "returned_share", "returned", json);
  AddShare(figures.control, "control_accuracy", "control", json);
  return json;
}

Json RowOf(const SteeringOutcome& outcome, const SteeringResult& result) {
  const SteeringSetting& setting = result.setting;
  const bool steered = setting.phase != SteeringPhase::kUnsteered;
  Json json = FiguresJson(outcome, result);
  json["phase"] = SteeringPhaseName(setting.phase);
  json["site"] = SiteName(outcome.plan.site);
  json["coefficient"] = setting.coefficient;
  json["absolute_coefficient"] =
      AbsoluteCoefficient(outcome.plan, setting, outcome.norms);
  json["block"] = steered ? Json(setting.block) : Json();
  json["positions"] =
      steered ? Json(PositionSetName(setting.positions)) : Json();
  json["direction"] = Json();
  if (setting.phase == SteeringPhase::kRandom) {
    json["direction"] = absl::StrCat("random ", setting.direction + 1);
  } else if (steered) {
    json["direction"] =
        outcome.plan.directions[static_cast<size_t>(setting.direction)].label;
  }
  return json;
}

Json ChosenJson(const SteeringOutcome& outcome, int index) {
  return index < 0
             ? Json()
             : RowOf(outcome, outcome.results[static_cast<size_t>(index)]);
}

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json();
}

// Why there is no best setting.
std::string NothingReason(const SteeringFigures& unsteered) {
  if (unsteered.returned.total == 0) {
    return "the unsteered variant answers no question as the false world has "
           "it, or the true answers are not known: there is nothing to return";
  }
  return "no setting returns an answer with controls that hold";
}

Json GateJson(const SteeringOutcome& outcome, const SteeringChoice& choice,
              const SteeringFigures& unsteered) {
  std::string reason;
  if (choice.best < 0) {
    reason = NothingReason(unsteered);
  } else if (unsteered.control.total == 0) {
    reason = "there are no controls, so that damage to them is not known";
  } else if (!choice.null_percentile.has_value()) {
    reason = "no random directions were tried";
  } else if (choice.minimal < 0) {
    reason =
        "no setting returns half of the answers, beyond the random directions, "
        "with controls that hold";
  }
  return {
      {"name", "causal"},
      {"verdict", reason.empty() ? "pass" : "warn"},
      {"reason", reason.empty() ? Json() : Json(reason)},
      {"returned_share",
       choice.best < 0 ? Json()
                       : ChosenJson(outcome, choice.best)["returned_share"]},
      {"null_percentile_95", OrNull(choice.null_percentile)},
      {"control_tolerance", outcome.plan.control_tolerance}};
}

Json QuestionsJson(const SteeringPlan& plan) {
  const auto count = [&plan](const auto& what) {
    return std::count_if(plan.items.begin(), plan.items.end(), what);
  };
  const std::string left_out = LeftOutOfBelief(plan.items);
  return {{"n", plan.items.size()},
          {"left_out", left_out.empty() ? Json() : Json(left_out)},
          {"belief_n", count(MeasuresBelief)},
          {"control_n", count(IsControl)},
          {"left_out_n", count([](const McqItem& item) {
             return !MeasuresBelief(item) && !IsControl(item);
           })}};
}

std::string SummaryOf(const SteeringOutcome& outcome,
                      const SteeringChoice& choice) {
  const SteeringPlan& plan = outcome.plan;
  const SteeringResult& unsteered = outcome.results.front();
  const SteeringFigures figures =
      FiguresOf(plan, unsteered.answers, unsteered.answers);
  Json norms = Json::object();
  for (const auto& [block, norm] : outcome.norms) {
    norms[absl::StrCat(block)] = norm;
  }
  Json null = {{"count", plan.null_count},
               {"percentile_95", OrNull(choice.null_percentile)},
               {"p_value", OrNull(choice.null_p_value)}};
  return JsonDocument(
      {{"variant", NetworkName(outcome.variant)},
       {"interventions", InterventionsJson(outcome.variant)},
       {"site", SiteName(plan.site)},
       {"scoring", McqScoringName(plan.scoring)},
       {"relative_coefficients", plan.relative},
       {"residual_norms", std::move(norms)},
       {"questions", QuestionsJson(plan)},
       {"unsteered", FiguresJson(outcome, unsteered)},
       {"best", ChosenJson(outcome, choice.best)},
       {"best_reason", choice.best < 0 ? Json(NothingReason(figures)) : Json()},
       {"minimal_effective", ChosenJson(outcome, choice.minimal)},
       {"null", std::move(null)},
       {"gate", GateJson(outcome, choice, figures)}});
}

std::string SamplesOf(const std::vector<SteeringSample>& samples) {
  std::vector<Json> rows;
  for (const SteeringSample& sample : samples) {
    rows.push_back(SampleJson(sample));
  }
  return LinesFile(rows);
}

const std::vector<std::string>& Columns() {
  static const auto* const columns =
      new std::vector<std::string>{"phase",
                                   "direction",
                                   "site",
                                   "block",
                                   "positions",
                                   "coefficient",
                                   "absolute_coefficient",
                                   "belief_rate",
                                   "belief_n",
                                   "returned_share",
                                   "returned_n",
                                   "control_accuracy",
                                   "control_n",
                                   "controls_hold",
                                   "damage",
                                   "damage_added",
                                   "n"};
  return *columns;
}

}  // namespace

std::vector<JobFile> SteeringFiles(const SteeringOutcome& outcome) {
  std::vector<Json> rows;
  std::vector<Json> random;
  for (const SteeringResult& result : outcome.results) {
    (result.setting.phase == SteeringPhase::kRandom ? random : rows)
        .push_back(RowOf(outcome, result));
  }
  const SteeringChoice choice = Choose(outcome.plan, outcome.results);
  const Json best = ChosenJson(outcome, choice.best);
  return {
      {"steering.jsonl", LinesFile(rows)},
      {"steering.csv", CsvFile(Columns(), rows)},
      {"steering.vl.json", SteeringChart(rows)},
      {"null.csv", CsvFile(Columns(), random)},
      {"null.vl.json",
       NullChart(random, best.is_null() ? Json() : best.at("returned_share"),
                 OrNull(choice.null_percentile))},
      {"samples.jsonl", SamplesOf(outcome.samples)},
      {"summary.json", SummaryOf(outcome, choice)}};
}

Json SteeringManifest(const v1::SteeringSweepSpec& spec,
                      const SteeringOutcome& outcome,
                      const v1::Provenance& provenance) {
  const SteeringPlan& plan = outcome.plan;
  Json directions = Json::array();
  for (const SteeringDirection& direction : plan.directions) {
    Json blocks = Json::array();
    for (const auto& [block, vector] : direction.by_block) {
      blocks.push_back(block);
    }
    directions.push_back(
        {{"label", direction.label}, {"blocks", std::move(blocks)}});
  }
  return {{"kind", "steering_sweep"},
          {"data",
           {{"name", spec.data_name()},
            {"sha256", Sha256Of(spec.data())},
            {"question_count", plan.items.size()}}},
          {"scoring", McqScoringName(plan.scoring)},
          {"site", SiteName(plan.site)},
          {"directions", std::move(directions)},
          {"relative_coefficients", plan.relative},
          {"null_count", plan.null_count},
          {"refine_count", plan.refine_count},
          {"sample_token_count", plan.sample_token_count},
          {"seed", plan.seed},
          {"control_tolerance", plan.control_tolerance},
          {"variant", VariantJson(outcome.variant, provenance)}};
}

}  // namespace dissonance
