// What settings of a steering sweep do to the answers, and which of them takes
// the belief back. Values and pure functions; thread safe.
//
//   SteeringFigures figures = FiguresOf(plan, unsteered, answers);
//   SteeringChoice choice = Choose(plan, tried);
#ifndef DISSONANCE_LAB_INTERP_STEERING_FIGURES_H_
#define DISSONANCE_LAB_INTERP_STEERING_FIGURES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "src/lab/eval/mcq_metrics.h"
#include "src/lab/eval/mcq_prediction.h"
#include "src/lab/interp/steering_plan.h"

namespace dissonance {

// One log-probability for each option, of any of its continuations.
using OptionLogprobs = PerOption;

// That of a question's raw scores.
OptionLogprobs LogprobsOf(const RawScores& raw);

// A share of questions with Wilson's interval.
struct SteeringShare {
  int64_t count = 0;
  int64_t total = 0;
  std::optional<double> share() const {
    if (total == 0) return std::nullopt;
    return static_cast<double>(count) / static_cast<double>(total);
  }
  Interval interval() const { return WilsonInterval(count, total); }
};

struct SteeringFigures {
  // Of the questions that measure the belief: answered as the false world has
  // it.
  SteeringShare belief;
  // Of those that the unsteered variant answers so and whose true answer is
  // known: answered truly.
  SteeringShare returned;
  // Of the controls: right answers.
  SteeringShare control;
  // Mean over all questions of -log P of the answer that the unsteered variant
  // gave, nats; and by how much that is more than without steering.
  double damage = 0;
  double damage_added = 0;
  // Whether controls fell by no more than the tolerance; true without any.
  bool controls_hold = true;
};

// One setting and what came of it: the questions' scores, in their order.
struct SteeringResult {
  SteeringSetting setting;
  std::vector<OptionLogprobs> answers;
};

// Whether a question that measures the belief is answered as the false world
// has it.
bool AnswersFalsely(const McqItem& item, v1::McqScoring scoring,
                    const OptionLogprobs& answer);

// REQUIRES: answers to all questions, the unsteered ones too.
SteeringFigures FiguresOf(const SteeringPlan& plan,
                          absl::Span<const OptionLogprobs> unsteered,
                          absl::Span<const OptionLogprobs> answers);

// What was found. Indices are into the results that were given; -1: none.
struct SteeringChoice {
  // Returns most with controls that hold; of equal ones the smaller
  // coefficient, then the first. Random directions don't count.
  int best = -1;
  // The smallest coefficient that returns half of them or more, beyond the
  // null where there is one, with controls that hold.
  int minimal = -1;
  // 95th percentile (nearest rank) of the shares that random directions
  // return at the best setting; nullopt without any.
  std::optional<double> null_percentile;
  // (1 + random directions that return as much) / (1 + random directions).
  std::optional<double> null_p_value;
};

// `results` begins with the unsteered one.
SteeringChoice Choose(const SteeringPlan& plan,
                      absl::Span<const SteeringResult> results);

// Coefficients halfway between the best one and its neighbours at its place,
// where 0 is one too, that were not tried yet.
std::vector<SteeringSetting> RefinedSettings(
    absl::Span<const SteeringResult> results, int best);

// The best setting along random directions.
std::vector<SteeringSetting> RandomSettings(const SteeringPlan& plan,
                                            const SteeringSetting& best);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_FIGURES_H_
