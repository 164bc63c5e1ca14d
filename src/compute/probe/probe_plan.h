// How the rows of a request are divided, the same at every place: folds, a
// further split, shuffled labels, resamples. Immutable, thread safe.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const ProbePlan> plan,
//                    ProbePlan::Create(options, targets, groups, variants));
#ifndef DISSONANCE_COMPUTE_PROBE_PROBE_PLAN_H_
#define DISSONANCE_COMPUTE_PROBE_PROBE_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/probe/probe_options.h"

namespace dissonance {

// A target's rows for one variant.
struct ProbeProblem {
  int64_t target = 0;
  int64_t variant = 0;
  int64_t class_count = 2;               // 0: ridge
  std::vector<int64_t> rows = {};        // used, ascending
  std::vector<double> labels = {};       // of those: class, or value
  std::vector<int32_t> fold = {};        // of those; -1: in none
  std::vector<bool> in_split_test = {};  // of those; empty: no further split
  // Of the controls: labels in another order, [permutations][rows used].
  std::vector<std::vector<double>> shuffled = {};
  // Of those: which rows are resampled together, numbered from 0.
  std::vector<int32_t> group = {};
};

class ProbePlan {
 public:
  // `groups` has a name per row, empty: a group of its own. INVALID_ARGUMENT,
  // naming target and variant, for labels that are not one per row, fewer than
  // two classes, a class with fewer rows or groups than folds, options out of
  // range, or more than two classes where the method takes two.
  static absl::StatusOr<std::shared_ptr<const ProbePlan>> Create(
      ProbeOptions options, std::vector<ProbeTarget> targets,
      const std::vector<std::string>& groups, int64_t variant_count);

  const ProbeOptions& options() const { return options_; }
  // By target, then variant.
  const std::vector<ProbeProblem>& problems() const { return problems_; }
  int64_t row_count() const { return row_count_; }
  int64_t variant_count() const { return variant_count_; }

 private:
  ProbePlan() = default;

  ProbeOptions options_;
  std::vector<ProbeProblem> problems_;
  int64_t row_count_ = 0;
  int64_t variant_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PROBE_PLAN_H_
