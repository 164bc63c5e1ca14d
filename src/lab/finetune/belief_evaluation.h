// What a network in training believes: multiple-choice questions asked of it in
// between, summed up as an evaluation's own report does. Values and functions;
// ask from one thread.
//
//   ASSIGN_OR_RETURN(BeliefFigures figures,
//                    EvaluateBelief(scorer, questions, scoring));
//   std::optional<double> rate = figures.false_belief_rate();
#ifndef DISSONANCE_LAB_FINETUNE_BELIEF_EVALUATION_H_
#define DISSONANCE_LAB_FINETUNE_BELIEF_EVALUATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_metrics.h"
#include "src/lab/eval/mcq_scorer.h"

namespace dissonance {

// Some of the questions, answered correctly or not.
struct GroupFigures {
  std::string name;  // McqGroup::name
  int64_t question_count = 0;
  int64_t correct_count = 0;

  // nullopt without questions.
  std::optional<double> accuracy() const;
};

// One evaluation.
struct BeliefFigures {
  int64_t step = 0;
  // FalseBelief's counts, in the same words.
  int64_t conflict_count = 0;
  int64_t counted_count = 0;
  int64_t false_count = 0;
  GroupFigures control;  // questions that are no conflict
  std::vector<GroupFigures> groups;

  // nullopt if nothing could be counted.
  std::optional<double> false_belief_rate() const;
  Interval false_belief_interval() const;  // Wilson's, 95 %
};

// Asks the scorer's one variant all questions, several a call. Fails as
// McqScorer::Score does.
absl::StatusOr<BeliefFigures> EvaluateBelief(McqScorer& scorer,
                                             absl::Span<const McqItem> items,
                                             v1::McqScoring scoring);

// For people: "false-belief rate 62.5 % (5 of 8), control accuracy 90.0 % (9 of
// 10)".
std::string BeliefText(const BeliefFigures& figures);

// With rates and intervals, for files and records.
nlohmann::json BeliefJson(const BeliefFigures& figures);
// Reads the counts back. Throws nlohmann::json::exception if they are not
// there.
BeliefFigures BeliefOfJson(const nlohmann::json& json);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_BELIEF_EVALUATION_H_
