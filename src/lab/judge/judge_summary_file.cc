#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/lab/files/json_document.h"
#include "src/lab/judge/judge_summary.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

Json OrNull(const std::optional<double>& number) {
  return number.has_value() ? Json(*number) : Json();
}

Json OrNull(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json WorldOrNull(const Verdict& verdict) {
  return verdict.world.has_value() ? Json(WorldName(*verdict.world)) : Json();
}

Json VerdictsJson(const JudgeFigures& figures) {
  Json verdicts = Json::object();
  for (size_t i = 0; i < kWorlds.size(); ++i) {
    const int64_t count = figures.verdict_counts.at(i);
    verdicts[kWorlds.at(i)] = {
        {"n", count},
        {"share", figures.judged_count == 0
                      ? Json()
                      : Json(static_cast<double>(count) /
                             static_cast<double>(figures.judged_count))}};
  }
  return verdicts;
}

Json FiguresJson(const JudgeFigures& figures, bool names_world) {
  return {{"n", figures.count},
          {"judged", figures.judged_count},
          {"errors", figures.count - figures.judged_count},
          {"verdicts", names_world ? VerdictsJson(figures) : Json()},
          {"mean_confidence", OrNull(figures.mean_confidence)},
          {"mean_doubt_score", OrNull(figures.mean_doubt_score)},
          {"mean_difficulty_proxy", OrNull(figures.mean_difficulty_proxy)}};
}

Json VariantJson(const VariantFigures& variant, bool names_world) {
  Json json = FiguresJson(variant.all, names_world);
  json["variant"] = variant.variant;
  json["categories"] = Json::array();
  for (const auto& [category, figures] : variant.by_category) {
    Json own = FiguresJson(figures, names_world);
    own["category"] = OrNull(category);
    json["categories"].push_back(std::move(own));
  }
  return json;
}

Json LargeJson(const DoubtShift& shift) {
  return {{"id", shift.id},
          {"sample", shift.sample},
          {"category", OrNull(shift.category)},
          {"doubt_score_from", shift.from.doubt_score()},
          {"doubt_score_to", shift.to.doubt_score()},
          {"delta", shift.delta()},
          {"verdict_from", WorldOrNull(shift.from)},
          {"verdict_to", WorldOrNull(shift.to)}};
}

Json TransitionsJson(const VariantShift& shift) {
  Json transitions = Json::object();
  for (size_t from = 0; from < kWorlds.size(); ++from) {
    for (size_t to = 0; to < kWorlds.size(); ++to) {
      transitions[kWorlds.at(from)][kWorlds.at(to)] =
          shift.transitions.at(from).at(to);
    }
  }
  return transitions;
}

Json ShiftJson(const VariantShift& shift, bool names_world) {
  Json large = Json::array();
  for (const DoubtShift& each : shift.large) large.push_back(LargeJson(each));
  return {{"variant", shift.variant},
          {"baseline", shift.baseline},
          {"pairs", shift.pair_count},
          {"left_out_errors", shift.error_pair_count},
          {"left_out_unpaired", shift.single_count},
          {"mean_doubt_delta", OrNull(shift.mean_doubt_delta)},
          {"large_from", kLargeShift},
          {"large_n", shift.large.size()},
          {"large", std::move(large)},
          {"transitions", names_world ? TransitionsJson(shift) : Json()}};
}

Json PassJson(const JudgePass& pass, bool names_world) {
  Json variants = Json::array();
  for (const VariantFigures& variant : pass.variants) {
    variants.push_back(VariantJson(variant, names_world));
  }
  Json shifts = Json::array();
  for (const VariantShift& shift : pass.shifts) {
    shifts.push_back(ShiftJson(shift, names_world));
  }
  return {{"judge", pass.judge},
          {"pass", pass.pass},
          {"variants", std::move(variants)},
          {"shifts", std::move(shifts)}};
}

Json AgreementJson(const JudgeSummary& summary, const PassAgreement& each) {
  const auto name = [&summary](size_t i) -> Json {
    return {{"judge", summary.passes.at(i).judge},
            {"pass", summary.passes.at(i).pass}};
  };
  const Agreement& agreement = each.agreement;
  return {{"first", name(each.first)},
          {"second", name(each.second)},
          {"n", agreement.pair_count},
          {"left_out_errors", each.error_pair_count},
          {"same_verdict_share", OrNull(agreement.same_verdict_share)},
          {"kappa", OrNull(agreement.kappa)},
          {"no_kappa_reason", OrNull(agreement.no_kappa_reason)},
          {"same_doubt_score_share", OrNull(agreement.same_doubt_share)},
          {"mean_absolute_doubt_difference",
           OrNull(agreement.mean_doubt_difference)}};
}

}  // namespace

std::string JudgeSummaryFile(const JudgeSummary& summary) {
  Json json = {{"mode", JudgeModeName(summary.names_world)},
               {"passes", Json::array()},
               {"agreements", Json::array()}};
  for (const JudgePass& pass : summary.passes) {
    json["passes"].push_back(PassJson(pass, summary.names_world));
  }
  for (const PassAgreement& agreement : summary.agreements) {
    json["agreements"].push_back(AgreementJson(summary, agreement));
  }
  return JsonDocument(json);
}

}  // namespace dissonance
