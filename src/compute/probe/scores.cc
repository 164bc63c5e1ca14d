#include "src/compute/probe/scores.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

#include "src/base/mix.h"
#include "src/base/shuffle.h"

namespace dissonance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A row of one fold, and how often it counts.
struct RankedRow {
  double decision;
  double label;
  size_t row;  // among the fold's
};

// The rows of one fold, in the order of one class's decisions.
class FoldRanks {
 public:
  // REQUIRES: decisions and labels of the fold's rows.
  FoldRanks(absl::Span<const double> decisions, absl::Span<const double> labels,
            double positive)
      : positive_(positive) {
    for (size_t row = 0; row < decisions.size(); ++row) {
      rows_.push_back({decisions[row], labels[row], row});
    }
    std::sort(rows_.begin(), rows_.end(),
              [](const RankedRow& a, const RankedRow& b) {
                return a.decision < b.decision;
              });
  }

  // With weights of the fold's rows. NaN where a class is missing.
  double Auc(absl::Span<const double> weights) const {
    double below = 0.0;  // of the other classes, with smaller decisions
    double pairs = 0.0;
    double positives = 0.0;
    for (size_t i = 0; i < rows_.size();) {
      double tied_positives = 0.0;
      double tied_others = 0.0;
      size_t end = i;
      do {
        (rows_[end].label == positive_ ? tied_positives : tied_others) +=
            weights[rows_[end].row];
        ++end;
      } while (end < rows_.size() && rows_[end].decision == rows_[i].decision);
      pairs += tied_positives * (below + 0.5 * tied_others);
      below += tied_others;
      positives += tied_positives;
      i = end;
    }
    if (positives == 0.0 || below == 0.0) return kNan;
    return pairs / (positives * below);
  }

 private:
  const double positive_;
  std::vector<RankedRow> rows_;
};

// One fold's rows, ready to be scored with any weights.
class FoldScorer {
 public:
  FoldScorer(const TestedRows& rows, int32_t fold)
      : class_count_(rows.class_count),
        width_(class_count_ > 2 ? static_cast<size_t>(class_count_) : 1) {
    for (size_t row = 0; row < rows.labels.size(); ++row) {
      if (rows.fold[row] != fold) continue;
      labels_.push_back(rows.labels[row]);
      rows_.push_back(row);
      for (size_t k = 0; k < width_; ++k) {
        decisions_.push_back(rows.decisions[row * width_ + k]);
      }
    }
    for (size_t k = 0; class_count_ > 0 && k < width_; ++k) {
      std::vector<double> own(labels_.size());
      for (size_t row = 0; row < own.size(); ++row) {
        own[row] = decisions_[row * width_ + k];
      }
      ranks_.emplace_back(own, labels_,
                          width_ == 1 ? 1.0 : static_cast<double>(k));
    }
  }

  size_t row_count() const { return labels_.size(); }
  // Where the fold's row stands among all.
  size_t number_of(size_t row) const { return rows_[row]; }

  double Auc(absl::Span<const double> weights) const {
    double sum = 0.0;
    double count = 0.0;
    for (const FoldRanks& ranks : ranks_) {
      const double auc = ranks.Auc(weights);
      if (std::isnan(auc)) continue;
      sum += auc;
      ++count;
    }
    return count == 0.0 ? kNan : sum / count;
  }

  double Accuracy(absl::Span<const double> weights) const {
    if (class_count_ == 0) return Determination(weights);
    double right = 0.0;
    double total = 0.0;
    for (size_t row = 0; row < labels_.size(); ++row) {
      if (Decide(row) == labels_[row]) right += weights[row];
      total += weights[row];
    }
    return total == 0.0 ? kNan : right / total;
  }

 private:
  double Decide(size_t row) const {
    const double* own = &decisions_[row * width_];
    if (width_ == 1) return *own > 0.0 ? 1.0 : 0.0;
    return static_cast<double>(std::max_element(own, own + width_) - own);
  }

  double Determination(absl::Span<const double> weights) const {
    double total = 0.0;
    double sum = 0.0;
    for (size_t row = 0; row < labels_.size(); ++row) {
      total += weights[row];
      sum += weights[row] * labels_[row];
    }
    const double mean = sum / total;
    double left = 0.0;
    double spread = 0.0;
    for (size_t row = 0; row < labels_.size(); ++row) {
      const double error = labels_[row] - decisions_[row];
      left += weights[row] * error * error;
      spread += weights[row] * (labels_[row] - mean) * (labels_[row] - mean);
    }
    return spread == 0.0 ? kNan : 1.0 - left / spread;
  }

  const int64_t class_count_;
  const size_t width_;
  std::vector<double> decisions_;
  std::vector<double> labels_;
  std::vector<size_t> rows_;
  std::vector<FoldRanks> ranks_;
};

std::vector<FoldScorer> ScorersOf(const TestedRows& rows) {
  std::vector<FoldScorer> scorers;
  for (int32_t fold = 0; fold < rows.fold_count; ++fold) {
    scorers.emplace_back(rows, fold);
  }
  return scorers;
}

double MeanOf(absl::Span<const double> values) {
  double sum = 0.0;
  double count = 0.0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count == 0.0 ? kNan : sum / count;
}

FoldFigure FigureOf(std::vector<double> folds) {
  FoldFigure figure;
  figure.mean = MeanOf(folds);
  std::vector<double> squares;
  for (const double value : folds) {
    squares.push_back((value - figure.mean) * (value - figure.mean));
  }
  figure.deviation = std::sqrt(MeanOf(squares));
  figure.folds = std::move(folds);
  return figure;
}

// Linear between the two nearest, as numpy's default.
double Quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(std::floor(at));
  const size_t high = std::min(low + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(low);
  return sorted[low] + part * (sorted[high] - sorted[low]);
}

// Of each row its group, numbered from 0 among those that are tested; rows that
// are not have any number.
struct NumberedGroups {
  size_t count = 0;
  std::vector<size_t> of_row;
};

NumberedGroups NumberGroups(const TestedRows& rows) {
  std::vector<int32_t> known;
  for (size_t row = 0; row < rows.group.size(); ++row) {
    if (rows.fold[row] >= 0) known.push_back(rows.group[row]);
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  NumberedGroups groups{.count = known.size(), .of_row = {}};
  for (const int32_t group : rows.group) {
    groups.of_row.push_back(static_cast<size_t>(
        std::lower_bound(known.begin(), known.end(), group) - known.begin()));
  }
  return groups;
}

void SetInterval(std::vector<double> means, FoldFigure& figure) {
  means.erase(std::remove_if(means.begin(), means.end(),
                             [](double value) { return std::isnan(value); }),
              means.end());
  if (means.empty()) return;
  std::sort(means.begin(), means.end());
  figure.low = Quantile(means, 0.025);
  figure.high = Quantile(means, 0.975);
}

}  // namespace

std::optional<double> RocAuc(absl::Span<const double> decisions,
                             absl::Span<const double> labels) {
  const std::vector<double> ones(labels.size(), 1.0);
  const double auc = FoldRanks(decisions, labels, 1.0).Auc(ones);
  if (std::isnan(auc)) return std::nullopt;
  return auc;
}

FoldScores ScoreFolds(const TestedRows& rows) {
  std::vector<double> aucs;
  std::vector<double> accuracies;
  for (const FoldScorer& scorer : ScorersOf(rows)) {
    const std::vector<double> ones(scorer.row_count(), 1.0);
    aucs.push_back(scorer.Auc(ones));
    accuracies.push_back(scorer.Accuracy(ones));
  }
  return {.auc = FigureOf(std::move(aucs)),
          .accuracy = FigureOf(std::move(accuracies))};
}

void AddIntervals(const TestedRows& rows, int64_t count, uint64_t seed,
                  FoldScores& scores) {
  const std::vector<FoldScorer> scorers = ScorersOf(rows);
  const NumberedGroups groups = NumberGroups(rows);
  std::vector<double> auc_means;
  std::vector<double> accuracy_means;
  uint64_t key = Mix(seed);
  std::vector<double> drawn;
  std::vector<double> weights;
  for (int64_t b = 0; b < count; ++b) {
    std::vector<double> aucs;
    std::vector<double> accuracies;
    // Of all folds together: a fold may hold a single group.
    drawn.assign(groups.count, 0.0);
    for (size_t i = 0; i < drawn.size(); ++i) {
      ++drawn[BelowBound(key = Mix(key), drawn.size())];
    }
    for (const FoldScorer& scorer : scorers) {
      weights.resize(scorer.row_count());
      for (size_t row = 0; row < weights.size(); ++row) {
        weights[row] = drawn[groups.of_row[scorer.number_of(row)]];
      }
      aucs.push_back(scorer.Auc(weights));
      accuracies.push_back(scorer.Accuracy(weights));
    }
    auc_means.push_back(MeanOf(aucs));
    accuracy_means.push_back(MeanOf(accuracies));
  }
  SetInterval(std::move(auc_means), scores.auc);
  SetInterval(std::move(accuracy_means), scores.accuracy);
}

}  // namespace dissonance
