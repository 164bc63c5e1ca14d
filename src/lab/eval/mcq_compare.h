// Predictions summed up by group, and two variants compared on the same
// questions: while a job runs, or offline from two prediction files. Both ways
// give the same numbers. Values and pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(McqComparison comparison,
//                    ComparePredictionFiles({base_text, "base.jsonl"},
//                                           {lora_text, "lora.jsonl"}));
//   std::string report = ComparisonReport(comparison);
#ifndef DISSONANCE_LAB_EVAL_MCQ_COMPARE_H_
#define DISSONANCE_LAB_EVAL_MCQ_COMPARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/lab/eval/mcq_metrics.h"
#include "src/lab/eval/mcq_prediction.h"

namespace dissonance {

// Questions of one group, "<category>__<world_label or None>".
struct McqGroup {
  std::string name;
  int64_t question_count = 0;
  int64_t correct_count = 0;
  double accuracy = 0;
  Interval accuracy_interval;
  double mean_entropy = 0;
  double mean_p_correct = 0;
  double mean_mi = 0;
};

// Share of the conflict questions (IsConflict) that are answered as the false
// universe implies (McqItem::implied_false_answer). Conflict questions whose
// false answer is not known are counted in conflict_count alone.
struct FalseBelief {
  int64_t conflict_count = 0;
  int64_t counted_count = 0;
  int64_t false_count = 0;
  std::optional<double> rate;  // nullopt if nothing could be counted
  Interval interval;
};

// One variant on all questions.
struct McqSummary {
  std::string model;
  std::string scoring;
  McqGroup overall;
  std::vector<McqGroup> groups;  // by name
  std::vector<McqGroup> worlds;  // totals by world label: "all__true_world"
  FalseBelief false_belief;
};

// A question that the two variants answer differently.
struct McqFlip {
  std::string id;
  std::string group;
  int from = 0;  // the base's answer
  int to = 0;    // the adapter's
  int correct = 0;
  std::optional<int> false_answer;  // in false_world the correct one
  double base_entropy = 0;
  double adapter_entropy = 0;
  double base_p_correct = 0;
  double adapter_p_correct = 0;
};

// Questions on which exactly one of the two has a property, and McNemar's
// exact two-sided p for them.
struct Discordance {
  int64_t base_only_count = 0;
  int64_t adapter_only_count = 0;
  double p_value = 1;
};

// Whether some questions, but not all, are of false_world, where being correct
// is agreeing with the false universe: an accuracy over all of them would mean
// nothing.
bool MixesWorlds(const McqSummary& summary);

// What to show below the groups: `overall`, or the worlds if they are mixed.
absl::Span<const McqGroup> TotalsOf(const McqSummary& summary);

struct McqComparison {
  McqSummary base;
  McqSummary adapter;
  Discordance correct;       // answered correctly
  Discordance false_belief;  // answered as the false universe implies
  std::vector<McqFlip> flips;
};

McqSummary SummarizePredictions(absl::Span<const McqPrediction> predictions);

// Predictions and what to call them in messages.
struct NamedPredictions {
  absl::Span<const McqPrediction> predictions;
  absl::string_view name;
};

// INVALID_ARGUMENT naming the first difference if the two are not in the same
// scoring, or not about the same questions in the same order. REQUIRES: neither
// is empty.
absl::StatusOr<McqComparison> ComparePredictions(
    const NamedPredictions& base, const NamedPredictions& adapter);

// A predictions file's contents and its name for messages.
struct PredictionFile {
  absl::string_view text;
  absl::string_view name;
};

// Parses both (ParsePredictions) and compares.
absl::StatusOr<McqComparison> ComparePredictionFiles(
    const PredictionFile& base, const PredictionFile& adapter);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_COMPARE_H_
