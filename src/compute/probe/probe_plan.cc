#include "src/compute/probe/probe_plan.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/mix.h"
#include "src/base/shuffle.h"
#include "src/base/status_macros.h"
#include "src/base/stratified_folds.h"

namespace dissonance {
namespace {

// Streams of one seed that must not be the same.
constexpr uint64_t kSplitStream = 0x73706C6974;  // "split"
constexpr uint64_t kShuffleStream = 0x70657264;  // "perm"

constexpr int64_t kMostClasses = 1000;
constexpr double kLargestC = 1e6;
// Decisions of all fits with all labels that a place keeps at a time.
constexpr int64_t kMostDecisions = int64_t{64} << 20;

absl::Status OutOfRange(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("options: ", what));
}

absl::Status CheckOptions(const ProbeOptions& options) {
  if (options.fold_count < 2 || options.fold_count > 100) {
    return OutOfRange(absl::StrCat("fold_count is ", options.fold_count,
                                   ", expected 2 to 100"));
  }
  if (options.c_values.empty()) return OutOfRange("c_values is empty");
  for (const double c : options.c_values) {
    if (c > 0.0 && c <= kLargestC) continue;
    return OutOfRange(absl::StrCat(
        "c_values has ", c, ", expected above 0, at ", "most ", kLargestC));
  }
  if (!(options.test_fraction >= 0.0 && options.test_fraction <= 0.5)) {
    return OutOfRange(absl::StrCat("test_fraction is ", options.test_fraction,
                                   ", expected 0 to 0.5"));
  }
  if (options.permutation_count < 0 || options.permutation_count > 10'000) {
    return OutOfRange(absl::StrCat("permutation_count is ",
                                   options.permutation_count,
                                   ", expected 0 to 10000"));
  }
  if (options.bootstrap_count < 0 || options.bootstrap_count > 10'000) {
    return OutOfRange(absl::StrCat("bootstrap_count is ",
                                   options.bootstrap_count,
                                   ", expected 0 to 10000"));
  }
  if (!(options.tolerance > 0.0)) {
    return OutOfRange(
        absl::StrCat("tolerance is ", options.tolerance, ", expected above 0"));
  }
  if (options.max_iterations < 1) {
    return OutOfRange("max_iteration_count is less than 1");
  }
  if (options.method == ProbeMethod::kLda &&
      !(options.shrinkage > 0.0 && options.shrinkage < 1.0)) {
    return OutOfRange(absl::StrCat(
        "shrinkage is ", options.shrinkage,
        ", expected above 0, so that the covariance can be inverted, and below "
        "1; mass-mean is what 1 comes to"));
  }
  return absl::OkStatus();
}

class ProblemMaker {
 public:
  ProblemMaker(const ProbeOptions& options,
               const std::vector<std::string>& groups, std::string where)
      : options_(options), group_names_(groups), where_(std::move(where)) {}

  absl::StatusOr<ProbeProblem> Make(const ProbeLabels& labels,
                                    ProbeProblem problem) {
    RETURN_IF_ERROR(TakeLabels(labels, problem));
    problem.group = NumberGroups(group_names_, problem.rows);
    RETURN_IF_ERROR(CheckCounts(problem));
    const GroupedRows rows = Grouped(problem);
    RETURN_IF_ERROR(TakeFolds(rows, problem));
    if (options_.test_fraction > 0.0) TakeSplit(rows, problem);
    Shuffle(problem);
    return problem;
  }

 private:
  absl::Status Wrong(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", what));
  }

  absl::Status TakeLabels(const ProbeLabels& labels, ProbeProblem& problem) {
    const bool is_ridge = options_.method == ProbeMethod::kRidge;
    const size_t count =
        is_ridge ? labels.values.size() : labels.classes.size();
    if (count != group_names_.size()) {
      return Wrong(absl::StrCat("expected ", is_ridge ? "values" : "classes",
                                ", one for each of ", group_names_.size(),
                                " inputs, found ", count));
    }
    int32_t largest = -1;
    for (size_t row = 0; row < count; ++row) {
      const double label = is_ridge ? labels.values[row] : labels.classes[row];
      if (std::isnan(label) || (!is_ridge && label == -1)) continue;
      if (!std::isfinite(label) || (!is_ridge && label < -1)) {
        return Wrong(absl::StrCat("input ", row, " has label ", label));
      }
      if (!is_ridge) largest = std::max(largest, labels.classes[row]);
      problem.rows.push_back(static_cast<int64_t>(row));
      problem.labels.push_back(label);
    }
    problem.class_count = is_ridge ? 0 : int64_t{largest} + 1;
    if (problem.class_count > kMostClasses) {
      return Wrong(absl::StrCat("class ", largest, ": at most ", kMostClasses,
                                " classes are told apart"));
    }
    return absl::OkStatus();
  }

  // That there is something to tell apart, in every fold.
  absl::Status CheckCounts(const ProbeProblem& problem) const {
    if (problem.class_count == 0) return CheckValues(problem);
    std::vector<absl::flat_hash_set<int32_t>> groups(
        static_cast<size_t>(problem.class_count));
    std::vector<int64_t> counts(groups.size());
    for (size_t i = 0; i < problem.rows.size(); ++i) {
      const auto own = static_cast<size_t>(problem.labels[i]);
      ++counts[own];
      groups[own].insert(problem.group[i]);
    }
    if (groups.size() < 2) {
      return Wrong(absl::StrCat(
          "found ", groups.size(), " class(es) in ", problem.rows.size(),
          " labelled inputs; a probe needs two to tell apart"));
    }
    if (groups.size() > 2 && options_.method != ProbeMethod::kLogistic) {
      return Wrong(absl::StrCat("found ", groups.size(),
                                " classes; mass-mean and LDA take two, "
                                "logistic takes more"));
    }
    for (size_t c = 0; c < groups.size(); ++c) {
      const auto own = static_cast<int64_t>(groups[c].size());
      if (counts[c] > 0 && own >= options_.fold_count) continue;
      return Wrong(absl::StrCat(
          "class ", c, " has ", counts[c], " input(s)",
          own == counts[c] ? "" : absl::StrCat(" in ", own, " group(s)"),
          ", fewer than the ", options_.fold_count,
          " folds; use fewer folds, or more inputs"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckValues(const ProbeProblem& problem) const {
    const std::set<double> values(problem.labels.begin(), problem.labels.end());
    const absl::flat_hash_set<int32_t> groups(problem.group.begin(),
                                              problem.group.end());
    if (values.size() < 2) {
      return Wrong(absl::StrCat("found ", values.size(),
                                " different value(s); ridge regression needs "
                                "two"));
    }
    if (static_cast<int64_t>(groups.size()) < 2 * options_.fold_count) {
      return Wrong(absl::StrCat("found ", groups.size(),
                                " inputs or groups for ", options_.fold_count,
                                " folds; ridge regression needs two for each"));
    }
    return absl::OkStatus();
  }

  static GroupedRows Grouped(const ProbeProblem& problem) {
    GroupedRows rows{.classes = std::vector<int32_t>(problem.rows.size()),
                     .class_count = std::max<int64_t>(problem.class_count, 1),
                     .groups = problem.group};
    if (problem.class_count > 0) {
      std::copy(problem.labels.begin(), problem.labels.end(),
                rows.classes.begin());
    }
    return rows;
  }

  absl::Status TakeFolds(const GroupedRows& rows, ProbeProblem& problem) {
    if (options_.fold_of_row.empty()) {
      problem.fold =
          CrossValidationFolds(rows, options_.fold_count, options_.seed);
    } else {
      for (const int64_t row : problem.rows) {
        problem.fold.push_back(options_.fold_of_row[static_cast<size_t>(row)]);
      }
    }
    return Annotate(CheckFolds(rows, problem.fold, options_.fold_count),
                    where_);
  }

  // None where a side would lack a class: too few rows.
  void TakeSplit(const GroupedRows& rows, ProbeProblem& problem) const {
    const std::vector<int32_t> side = StratifiedFolds(
        rows, {options_.test_fraction, 1.0 - options_.test_fraction},
        Mix(Mix(options_.seed) ^ kSplitStream));
    std::set<std::pair<int32_t, int32_t>> there;
    for (size_t i = 0; i < side.size(); ++i) {
      there.insert({side[i], rows.classes[i]});
    }
    if (static_cast<int64_t>(there.size()) < 2 * rows.class_count) return;
    for (const int32_t own : side) problem.in_split_test.push_back(own == 0);
  }

  // Whole groups change labels where each has one label, else rows do.
  void Shuffle(ProbeProblem& problem) const {
    absl::flat_hash_map<int32_t, double> label_of_group;
    bool constant = true;
    int32_t group_count = 0;
    for (size_t i = 0; i < problem.group.size(); ++i) {
      const auto [at, is_new] =
          label_of_group.try_emplace(problem.group[i], problem.labels[i]);
      constant = constant && at->second == problem.labels[i];
      group_count = std::max(group_count, problem.group[i] + 1);
    }
    const uint64_t stream = Mix(Mix(options_.seed) ^ kShuffleStream);
    for (int64_t p = 0; p < options_.permutation_count; ++p) {
      const uint64_t key = Mix(stream + static_cast<uint64_t>(p));
      std::vector<double>& shuffled = problem.shuffled.emplace_back();
      const std::vector<int64_t> order = ShuffledIndices(
          constant ? group_count : static_cast<int64_t>(problem.rows.size()),
          key);
      for (size_t i = 0; i < problem.rows.size(); ++i) {
        shuffled.push_back(
            constant ? label_of_group[static_cast<int32_t>(
                           order[static_cast<size_t>(problem.group[i])])]
                     : problem.labels[static_cast<size_t>(order[i])]);
      }
    }
  }

  const ProbeOptions& options_;
  const std::vector<std::string>& group_names_;
  const std::string where_;
};

absl::Status CheckFoldNumbers(const ProbeOptions& options, size_t row_count) {
  if (options.fold_of_row.empty()) return absl::OkStatus();
  if (options.fold_of_row.size() != row_count) {
    return OutOfRange(absl::StrCat("fold_of_input has ",
                                   options.fold_of_row.size(), " entries for ",
                                   row_count, " inputs"));
  }
  for (const int32_t fold : options.fold_of_row) {
    if (fold >= -1 && fold < options.fold_count) continue;
    return OutOfRange(absl::StrCat("fold_of_input has ", fold,
                                   ", expected -1 to ",
                                   options.fold_count - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const ProbePlan& plan) {
  const auto c_count = static_cast<int64_t>(plan.options().c_values.size());
  int64_t most = 0;
  for (const ProbeProblem& problem : plan.problems()) {
    most = std::max(most, static_cast<int64_t>(problem.rows.size()) *
                              std::max<int64_t>(problem.class_count, 1));
  }
  const int64_t decisions =
      most * c_count * (plan.options().permutation_count + 1);
  if (decisions <= kMostDecisions) return absl::OkStatus();
  return OutOfRange(
      absl::StrCat("rows, shuffled labels and values of C make ", decisions,
                   " decisions at a place, at most ", kMostDecisions,
                   " are kept; use fewer permutations or values of C"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ProbePlan>> ProbePlan::Create(
    ProbeOptions options, std::vector<ProbeTarget> targets,
    const std::vector<std::string>& groups, int64_t variant_count) {
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(CheckFoldNumbers(options, groups.size()));
  if (targets.empty()) return absl::InvalidArgumentError("targets: none");
  auto plan = std::shared_ptr<ProbePlan>(new ProbePlan);
  plan->options_ = std::move(options);
  plan->row_count_ = static_cast<int64_t>(groups.size());
  plan->variant_count_ = variant_count;
  for (size_t t = 0; t < targets.size(); ++t) {
    const std::vector<ProbeLabels>& labels = targets[t].labels;
    if (labels.size() != 1 &&
        static_cast<int64_t>(labels.size()) != variant_count) {
      return absl::InvalidArgumentError(absl::StrCat(
          "target ", targets[t].name, ": expected labels for all variants, or ",
          "for each of ", variant_count, ", found ", labels.size()));
    }
    for (int64_t v = 0; v < variant_count; ++v) {
      const std::string where =
          labels.size() == 1
              ? absl::StrCat("target ", targets[t].name)
              : absl::StrCat("target ", targets[t].name, ", variant ", v);
      ProblemMaker maker(plan->options_, groups, where);
      ASSIGN_OR_RETURN(
          ProbeProblem problem,
          maker.Make(labels[labels.size() == 1 ? 0 : static_cast<size_t>(v)],
                     {.target = static_cast<int64_t>(t), .variant = v}));
      plan->problems_.push_back(std::move(problem));
    }
  }
  RETURN_IF_ERROR(CheckSize(*plan));
  return std::shared_ptr<const ProbePlan>(std::move(plan));
}

}  // namespace dissonance
