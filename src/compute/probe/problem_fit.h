// All fits of one problem at one place: folds, split, everything, and the
// folds with shuffled labels, for each C. Works in pieces. One thread at a
// time; may throw c10::Error.
//
//   ProblemFit fit(plan, problem, rows_of_variants);
//   while (fit.RunPiece()) {
//   }
//   ASSIGN_OR_RETURN(std::vector<FittedProbe> probes, fit.Take());  // by C
#ifndef DISSONANCE_COMPUTE_PROBE_PROBLEM_FIT_H_
#define DISSONANCE_COMPUTE_PROBE_PROBLEM_FIT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/probe/fit_rows.h"
#include "src/compute/probe/lda_fit.h"
#include "src/compute/probe/linear_fit.h"
#include "src/compute/probe/probe_options.h"
#include "src/compute/probe/probe_plan.h"
#include "src/compute/probe/probe_report.h"

namespace dissonance {

class ProblemFit {
 public:
  // Borrows all three. `rows` has [inputs, width] of each variant.
  ProblemFit(const ProbePlan& plan, const ProbeProblem& problem,
             const std::vector<at::Tensor>& rows);

  bool RunPiece();
  // INVALID_ARGUMENT if numbers overflowed.
  absl::StatusOr<std::vector<FittedProbe>> Take();

  // Bytes at most, beside the rows.
  static int64_t Bytes(const ProbePlan& plan, int64_t width);
  // Multiplications of an iteration at most, about.
  static int64_t Products(const ProbePlan& plan, int64_t width);

 private:
  // What is fitted.
  struct Fit {
    size_t c = 0;
    int64_t mask = 0;          // a fold, the split, or all rows
    int64_t permutation = -1;  // -1: the labels as they are
  };
  // Fits that are made in one go.
  struct Batch {
    std::vector<Fit> fits;
    bool in_span = false;  // all of one mask
  };

  void MakeMasks();
  void PlanBatches();
  void AddBatches(const std::vector<Fit>& fits, bool in_span);
  void Begin(const Batch& batch);
  void Collect(const Batch& batch);
  FitSettings SettingsOf(const Batch& batch) const;
  // Fits a batch of mass-mean probes, which have a closed form.
  void FitMeans(const Batch& batch);
  // Takes what fits came to: [m, K, width], [m, K], [m, K, n].
  void Keep(const Batch& batch, const at::Tensor& weights,
            const at::Tensor& intercepts, const at::Tensor& scores);
  const std::vector<double>& LabelsOf(const Fit& fit) const;

  int64_t mask_count() const { return masks_.size(0); }
  int64_t all_mask() const { return mask_count() - 1; }
  bool has_split() const { return !problem_.in_split_test.empty(); }
  bool is_tested(const Fit& fit, size_t row) const;
  int64_t score_width() const;  // K

  const ProbePlan& plan_;
  const ProbeProblem& problem_;
  const std::vector<at::Tensor>& rows_;
  at::Tensor masks_;  // [masks, rows used]: folds, split, all
  std::unique_ptr<const ScaledRows> scaled_;
  std::vector<Batch> batches_;
  size_t next_batch_ = 0;
  std::optional<SpanRows> span_;  // of span_mask_
  int64_t span_mask_ = -1;
  std::unique_ptr<LdaFit> lda_;
  std::unique_ptr<LinearFit> solver_;

  std::vector<ProblemFits> results_;  // by C
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PROBLEM_FIT_H_
