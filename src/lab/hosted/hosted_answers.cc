#include "src/lab/hosted/hosted_answers.h"

#include <utility>

#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/files/json_document.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr char kScoring[] = "hosted_letter";

json LetterOrNull(const std::optional<int>& option) {
  return option.has_value() ? json(McqLetter(*option)) : json();
}

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value.has_value() ? json(*value) : json();
}

// As the comparison takes answers; what needs probabilities stays unset.
McqPrediction PredictionOf(const McqItem& item, const std::string& model,
                           int option) {
  McqPrediction p;
  p.id = item.id;
  p.model = model;
  p.category = item.category;
  p.world_label = item.world_label;
  p.difficulty = item.difficulty;
  p.pred = option;
  p.correct = item.correct_answer;
  p.false_answer = item.implied_false_answer;
  p.scoring = kScoring;
  return p;
}

json Shares(const Interval& interval) {
  return json::array({interval.low, interval.high});
}

json GroupJson(const McqGroup& group) {
  return {{"n", group.question_count},
          {"correct", group.correct_count},
          {"accuracy", group.accuracy},
          {"accuracy_interval_95", Shares(group.accuracy_interval)}};
}

json BeliefJson(const FalseBelief& belief) {
  json out = {{"conflict_n", belief.conflict_count},
              {"counted_n", belief.counted_count},
              {"false_n", belief.false_count},
              {"rate", OrNull(belief.rate)},
              {"interval_95", Shares(belief.interval)}};
  if (!belief.rate.has_value()) {
    out["interval_95"] = nullptr;
    out["reason"] = "no conflict question with a known false answer";
  }
  return out;
}

json ModelJson(absl::Span<const McqItem> items, const HostedAnswers& model) {
  std::vector<McqPrediction> answered;
  int64_t error_count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const HostedAnswer& answer = model.answers[i];
    if (answer.option.has_value()) {
      answered.push_back(PredictionOf(items[i], model.model, *answer.option));
    } else {
      ++error_count;
    }
  }
  json out = {{"model", model.model},
              {"question_count", items.size()},
              {"answered_count", answered.size()},
              {"error_count", error_count}};
  if (answered.empty()) {
    out["reason"] = "no question was answered";
    return out;
  }
  const McqSummary summary = SummarizePredictions(answered);
  json groups = json::object();
  for (const McqGroup& group : summary.groups) {
    groups[group.name] = GroupJson(group);
  }
  // Worlds apart where correct means two things.
  json totals = json::object();
  for (const McqGroup& total : TotalsOf(summary)) {
    totals[total.name] = GroupJson(total);
  }
  out["totals"] = std::move(totals);
  out["groups"] = std::move(groups);
  out["false_belief"] = BeliefJson(summary.false_belief);
  return out;
}

json PairsJson(const Discordance& pairs) {
  return {{"first_only", pairs.base_only_count},
          {"second_only", pairs.adapter_only_count},
          {"p_value", pairs.p_value}};
}

// Over the questions that both answered.
json ComparisonJson(absl::Span<const McqItem> items, const HostedAnswers& first,
                    const HostedAnswers& second) {
  std::vector<McqPrediction> base;
  std::vector<McqPrediction> other;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::optional<int>& a = first.answers[i].option;
    const std::optional<int>& b = second.answers[i].option;
    if (!a.has_value() || !b.has_value()) continue;
    base.push_back(PredictionOf(items[i], first.model, *a));
    other.push_back(PredictionOf(items[i], second.model, *b));
  }
  json out = {{"answered_by_both", base.size()}};
  if (base.empty()) {
    out["reason"] = "no question was answered by both";
    return out;
  }
  const auto comparison =
      ComparePredictions({base, first.model}, {other, second.model});
  if (!comparison.ok()) {
    out["reason"] = std::string(comparison.status().message());
    return out;
  }
  json flips = json::array();
  for (const McqFlip& flip : comparison->flips) {
    flips.push_back({{"id", flip.id},
                     {"from", McqLetter(flip.from)},
                     {"to", McqLetter(flip.to)},
                     {"correct", McqLetter(flip.correct)},
                     {"false_answer", LetterOrNull(flip.false_answer)}});
  }
  out["mcnemar_correct"] =
      MixesWorlds(comparison->base) ? json() : PairsJson(comparison->correct);
  if (MixesWorlds(comparison->base)) {
    out["no_mcnemar_correct_reason"] =
        "questions of false_world among others: correct means two things";
  }
  out["mcnemar_false_belief"] = PairsJson(comparison->false_belief);
  out["flips"] = std::move(flips);
  return out;
}

}  // namespace

std::string HostedPredictionsFile(absl::Span<const McqItem> items,
                                  const HostedAnswers& answers) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    const McqItem& item = items[i];
    const HostedAnswer& answer = answers.answers[i];
    text += ToJsonLine(
        {{"id", item.id},
         {"model", answers.model},
         {"category", item.category},
         {"world_label", OrNull(item.world_label)},
         {"difficulty", OrNull(item.difficulty)},
         {"pred", LetterOrNull(answer.option)},
         {"correct", McqLetter(item.correct_answer)},
         {"is_correct", answer.option.has_value()
                            ? json(*answer.option == item.correct_answer)
                            : json()},
         {"false_answer", LetterOrNull(item.implied_false_answer)},
         {"raw_texts", answer.raw_texts},
         {"error", answer.error.empty() ? json() : json(answer.error)}});
  }
  return text;
}

std::string HostedReport(absl::Span<const McqItem> items,
                         absl::Span<const HostedAnswers> models) {
  json list = json::array();
  for (const HostedAnswers& model : models) {
    list.push_back(ModelJson(items, model));
  }
  json report = {{"scoring", kScoring}, {"models", std::move(list)}};
  if (models.size() == 2) {
    report["comparison"] = ComparisonJson(items, models[0], models[1]);
  }
  return JsonDocument(report);
}

}  // namespace dissonance
