// How good decisions are: ROC areas and accuracies over folds, and their
// bootstrap intervals. Pure; thread safe.
//
//   std::optional<double> auc = RocAuc(decisions, labels);
#ifndef DISSONANCE_COMPUTE_PROBE_SCORES_H_
#define DISSONANCE_COMPUTE_PROBE_SCORES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "src/compute/probe/probe_options.h"

namespace dissonance {

// Area under the ROC curve: the share of pairs of a row of class 1 and one of
// another class that the decision orders rightly, ties half. nullopt unless
// both are there. O(n log n).
std::optional<double> RocAuc(absl::Span<const double> decisions,
                             absl::Span<const double> labels);

// Rows that were tested, with the decisions of the fit that did not see them.
// Of more than two classes a row has one for each.
struct TestedRows {
  int64_t class_count = 2;  // 0: ridge
  int64_t fold_count = 0;
  std::vector<double> decisions;  // [rows * max(1, classes if > 2)]
  std::vector<double> labels;     // [rows]
  std::vector<int32_t> fold;      // of each row
  std::vector<int32_t> group;     // resampled together
};

struct FoldScores {
  FoldFigure auc;       // of more than two classes one against the rest, mean
  FoldFigure accuracy;  // of ridge the coefficient of determination
};

// Means over folds; a fold in which a figure is not defined is left out of the
// mean and NaN in `folds`.
FoldScores ScoreFolds(const TestedRows& rows);

// Adds intervals: quantiles of the means over `count` resamples of all groups,
// each in the fold that tested it; a fold that is left without a figure is left
// out of the mean.
void AddIntervals(const TestedRows& rows, int64_t count, uint64_t seed,
                  FoldScores& scores);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_SCORES_H_
