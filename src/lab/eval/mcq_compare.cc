#include "src/lab/eval/mcq_compare.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

std::string InWorld(absl::string_view questions, const McqPrediction& p) {
  return absl::StrCat(questions, "__", p.world_label.value_or("None"));
}

std::string GroupOf(const McqPrediction& p) { return InWorld(p.category, p); }

void AddTo(McqGroup& group, const McqPrediction& p) {
  ++group.question_count;
  group.correct_count += p.is_correct() ? 1 : 0;
  group.mean_entropy += p.entropy;
  group.mean_p_correct += p.p_correct;
  group.mean_mi += p.uncertainty.mi;
}

// Sums into means.
void Finish(McqGroup& group) {
  const auto n = static_cast<double>(group.question_count);
  group.accuracy = static_cast<double>(group.correct_count) / n;
  group.accuracy_interval =
      WilsonInterval(group.correct_count, group.question_count);
  group.mean_entropy /= n;
  group.mean_p_correct /= n;
  group.mean_mi /= n;
}

FalseBelief FalseBeliefOf(absl::Span<const McqPrediction> predictions) {
  FalseBelief belief;
  for (const McqPrediction& p : predictions) {
    if (!IsConflict(p.category, p.false_answer)) continue;
    ++belief.conflict_count;
    if (!p.false_answer.has_value()) continue;
    ++belief.counted_count;
    belief.false_count += p.pred == *p.false_answer ? 1 : 0;
  }
  belief.interval = WilsonInterval(belief.false_count, belief.counted_count);
  if (belief.counted_count > 0) {
    belief.rate = static_cast<double>(belief.false_count) /
                  static_cast<double>(belief.counted_count);
  }
  return belief;
}

std::vector<McqGroup> Finished(std::map<std::string, McqGroup>& by_name) {
  std::vector<McqGroup> groups;
  for (auto& [name, group] : by_name) {
    group.name = name;
    Finish(group);
    groups.push_back(std::move(group));
  }
  return groups;
}

// For messages; other tools' files may not say it.
std::string Shown(const std::string& scoring) {
  return scoring.empty() ? "none" : scoring;
}

// What is to be the same in both, and why it matters.
struct Trait {
  std::string where;
  std::string base;
  std::string adapter;
  absl::string_view what_to_do;
};

constexpr absl::string_view kSameFormat =
    "only predictions in the same answer format can be compared";
constexpr absl::string_view kSameQuestions =
    "both must answer the same questions in the same order";

absl::Status CheckSame(const Trait& trait, const NamedPredictions& base,
                       const NamedPredictions& adapter) {
  if (trait.base == trait.adapter) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      trait.where, " differs: ", trait.base, " in ", base.name, ", ",
      trait.adapter, " in ", adapter.name, "; ", trait.what_to_do));
}

std::string Letter(const std::optional<int>& option) {
  return option.has_value() ? McqLetter(*option) : "none";
}

std::vector<Trait> TraitsOf(const McqPrediction& base,
                            const McqPrediction& adapter, size_t number) {
  const std::string place = absl::StrCat("prediction ", number, ": ");
  const std::string question =
      absl::StrCat("prediction ", number, " (", base.id, "): ");
  return {
      {absl::StrCat(place, "id"), base.id, adapter.id, kSameQuestions},
      {absl::StrCat(question, "correct"), Letter(base.correct),
       Letter(adapter.correct), kSameQuestions},
      {absl::StrCat(question, "group"), GroupOf(base), GroupOf(adapter),
       kSameQuestions},
      {absl::StrCat(question, "false_answer"), Letter(base.false_answer),
       Letter(adapter.false_answer), kSameQuestions},
      {absl::StrCat(question, "scoring_variants"), base.scoring_variants.dump(),
       adapter.scoring_variants.dump(), kSameFormat}};
}

absl::Status CheckComparable(const NamedPredictions& base,
                             const NamedPredictions& adapter) {
  RETURN_IF_ERROR(
      CheckSame({"scoring", Shown(base.predictions.front().scoring),
                 Shown(adapter.predictions.front().scoring), kSameFormat},
                base, adapter));
  const size_t shared =
      std::min(base.predictions.size(), adapter.predictions.size());
  for (size_t i = 0; i < shared; ++i) {
    for (const Trait& trait :
         TraitsOf(base.predictions[i], adapter.predictions[i], i + 1)) {
      RETURN_IF_ERROR(CheckSame(trait, base, adapter));
    }
  }
  return CheckSame(
      {"the number of predictions", absl::StrCat(base.predictions.size()),
       absl::StrCat(adapter.predictions.size()), kSameQuestions},
      base, adapter);
}

void Count(Discordance& pairs, bool base, bool adapter) {
  if (base && !adapter) ++pairs.base_only_count;
  if (adapter && !base) ++pairs.adapter_only_count;
}

void Finish(Discordance& pairs) {
  pairs.p_value =
      McNemarExactP(pairs.base_only_count, pairs.adapter_only_count);
}

McqFlip MakeFlip(const McqPrediction& base, const McqPrediction& adapter) {
  return {.id = base.id,
          .group = GroupOf(base),
          .from = base.pred,
          .to = adapter.pred,
          .correct = base.correct,
          .false_answer = base.false_answer,
          .base_entropy = base.entropy,
          .adapter_entropy = adapter.entropy,
          .base_p_correct = base.p_correct,
          .adapter_p_correct = adapter.p_correct};
}

}  // namespace

McqSummary SummarizePredictions(absl::Span<const McqPrediction> predictions) {
  McqSummary summary;
  std::map<std::string, McqGroup> groups;
  std::map<std::string, McqGroup> worlds;
  for (const McqPrediction& p : predictions) {
    summary.model = p.model;
    summary.scoring = p.scoring;
    AddTo(summary.overall, p);
    AddTo(groups[GroupOf(p)], p);
    AddTo(worlds[InWorld("all", p)], p);
  }
  summary.overall.name = "all";
  Finish(summary.overall);
  summary.groups = Finished(groups);
  summary.worlds = Finished(worlds);
  summary.false_belief = FalseBeliefOf(predictions);
  return summary;
}

bool MixesWorlds(const McqSummary& summary) {
  return summary.worlds.size() > 1 &&
         absl::c_any_of(summary.worlds, [](const McqGroup& world) {
           return world.name == "all__false_world";
         });
}

absl::Span<const McqGroup> TotalsOf(const McqSummary& summary) {
  if (MixesWorlds(summary)) return summary.worlds;
  return absl::MakeConstSpan(&summary.overall, 1);
}

absl::StatusOr<McqComparison> ComparePredictions(
    const NamedPredictions& base, const NamedPredictions& adapter) {
  RETURN_IF_ERROR(CheckComparable(base, adapter));
  McqComparison comparison;
  comparison.base = SummarizePredictions(base.predictions);
  comparison.adapter = SummarizePredictions(adapter.predictions);
  for (size_t i = 0; i < base.predictions.size(); ++i) {
    const McqPrediction& a = base.predictions[i];
    const McqPrediction& b = adapter.predictions[i];
    Count(comparison.correct, a.is_correct(), b.is_correct());
    if (a.false_answer.has_value()) {
      Count(comparison.false_belief, a.pred == *a.false_answer,
            b.pred == *a.false_answer);
    }
    if (a.pred != b.pred) comparison.flips.push_back(MakeFlip(a, b));
  }
  Finish(comparison.correct);
  Finish(comparison.false_belief);
  return comparison;
}

absl::StatusOr<McqComparison> ComparePredictionFiles(
    const PredictionFile& base, const PredictionFile& adapter) {
  ASSIGN_OR_RETURN(const std::vector<McqPrediction> base_predictions,
                   ParsePredictions(base.text, base.name));
  ASSIGN_OR_RETURN(const std::vector<McqPrediction> adapter_predictions,
                   ParsePredictions(adapter.text, adapter.name));
  return ComparePredictions({base_predictions, base.name},
                            {adapter_predictions, adapter.name});
}

}  // namespace dissonance
