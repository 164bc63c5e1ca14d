// From fits to what is said of them: figures over folds, intervals, controls,
// transfers, verdicts, weights. Pure; may throw c10::Error.
//
//   std::vector<FittedProbe> probes = ReportOn(fits, context);   // by C
#ifndef DISSONANCE_COMPUTE_PROBE_PROBE_REPORT_H_
#define DISSONANCE_COMPUTE_PROBE_PROBE_REPORT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/probe/fit_rows.h"
#include "src/compute/probe/probe_options.h"
#include "src/compute/probe/probe_plan.h"

namespace dissonance {

// What a fit came to, on the CPU, float64.
struct LinearFitResult {
  at::Tensor weight;     // [K, width] in the mask's scaled units
  at::Tensor intercept;  // [K]
};

struct FitConvergence {
  bool converged = true;
  int64_t iterations = 0;
  double gradient_max = 0.0;  // of the fits with the labels as they are
};

// All fits of one problem for one C.
struct ProblemFits {
  double c = 0.0;
  // By permutation + 1, 0 for the labels as they are: decisions of each row by
  // the fit that tests it, [rows used * K]; NaN: none.
  std::vector<std::vector<double>> decisions = {};
  std::vector<double> split_decisions = {};
  std::vector<LinearFitResult> fits = {};  // by mask; the last is of all rows
  FitConvergence convergence = {};
};

// Borrowed.
struct ReportContext {
  const ProbePlan& plan;
  const ProbeProblem& problem;
  const std::vector<at::Tensor>& rows;  // [inputs, width] of each variant
  const ScaledRows& scaled;
};

// INVALID_ARGUMENT if a decision is not finite.
absl::StatusOr<FittedProbe> ReportOn(const ProblemFits& fits,
                                     const ReportContext& context);

// Of a place where all rows are equal: nothing can be told apart.
absl::StatusOr<FittedProbe> ReportOnConstant(double c,
                                             const ReportContext& context);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PROBE_REPORT_H_
