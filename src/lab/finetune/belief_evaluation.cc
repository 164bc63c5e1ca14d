#include "src/lab/finetune/belief_evaluation.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prediction.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// As evaluate_mcq takes them.
constexpr size_t kQuestionsPerCall = 8;

std::optional<double> Share(int64_t part, int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

Json OrNull(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json();
}

Json ToJson(const GroupFigures& group) {
  const Interval interval =
      WilsonInterval(group.correct_count, group.question_count);
  return {{"n", group.question_count},
          {"correct", group.correct_count},
          {"accuracy", OrNull(group.accuracy())},
          {"accuracy_interval_95", {interval.low, interval.high}}};
}

GroupFigures GroupOfJson(const std::string& name, const Json& json) {
  return {.name = name,
          .question_count = json.at("n").get<int64_t>(),
          .correct_count = json.at("correct").get<int64_t>()};
}

std::string Percent(const std::optional<double>& share, int64_t part,
                    int64_t whole) {
  if (!share.has_value()) return "unknown (no such question)";
  return absl::StrFormat("%.1f %% (%d of %d)", 100 * *share, part, whole);
}

BeliefFigures SumUp(absl::Span<const McqPrediction> predictions) {
  const McqSummary summary = SummarizePredictions(predictions);
  BeliefFigures figures;
  figures.conflict_count = summary.false_belief.conflict_count;
  figures.counted_count = summary.false_belief.counted_count;
  figures.false_count = summary.false_belief.false_count;
  for (const McqGroup& group : summary.groups) {
    figures.groups.push_back({.name = group.name,
                              .question_count = group.question_count,
                              .correct_count = group.correct_count});
  }
  figures.control.name = "control";
  for (const McqPrediction& p : predictions) {
    if (IsConflict(p.category, p.false_answer)) continue;
    ++figures.control.question_count;
    figures.control.correct_count += p.is_correct();
  }
  return figures;
}

}  // namespace

std::optional<double> GroupFigures::accuracy() const {
  return Share(correct_count, question_count);
}

std::optional<double> BeliefFigures::false_belief_rate() const {
  return Share(false_count, counted_count);
}

Interval BeliefFigures::false_belief_interval() const {
  return WilsonInterval(false_count, counted_count);
}

absl::StatusOr<BeliefFigures> EvaluateBelief(McqScorer& scorer,
                                             absl::Span<const McqItem> items,
                                             v1::McqScoring scoring) {
  std::vector<McqPrediction> predictions;
  for (size_t first = 0; first < items.size(); first += kQuestionsPerCall) {
    const absl::Span<const McqItem> batch =
        items.subspan(first, kQuestionsPerCall);
    ASSIGN_OR_RETURN(const McqAnswers answers, scorer.Score(batch));
    for (size_t i = 0; i < batch.size(); ++i) {
      predictions.push_back(MakePrediction(batch[i], /*model=*/"", scoring,
                                           scorer.format(),
                                           answers.scores[i].front()));
    }
  }
  return SumUp(predictions);
}

std::string BeliefText(const BeliefFigures& figures) {
  return absl::StrCat(
      "false-belief rate ",
      Percent(figures.false_belief_rate(), figures.false_count,
              figures.counted_count),
      ", control accuracy ",
      Percent(figures.control.accuracy(), figures.control.correct_count,
              figures.control.question_count));
}

Json BeliefJson(const BeliefFigures& figures) {
  Json groups = Json::object();
  for (const GroupFigures& group : figures.groups) {
    groups[group.name] = ToJson(group);
  }
  const Interval interval = figures.false_belief_interval();
  return {{"step", figures.step},
          {"false_belief",
           {{"conflict_n", figures.conflict_count},
            {"counted_n", figures.counted_count},
            {"false_n", figures.false_count},
            {"rate", OrNull(figures.false_belief_rate())},
            {"interval_95", {interval.low, interval.high}}}},
          {"control", ToJson(figures.control)},
          {"groups", std::move(groups)}};
}

BeliefFigures BeliefOfJson(const Json& json) {
  BeliefFigures figures;
  figures.step = json.at("step").get<int64_t>();
  const Json& belief = json.at("false_belief");
  figures.conflict_count = belief.at("conflict_n").get<int64_t>();
  figures.counted_count = belief.at("counted_n").get<int64_t>();
  figures.false_count = belief.at("false_n").get<int64_t>();
  figures.control = GroupOfJson("control", json.at("control"));
  for (const auto& [name, group] : json.at("groups").items()) {
    figures.groups.push_back(GroupOfJson(name, group));
  }
  return figures;
}

}  // namespace dissonance
