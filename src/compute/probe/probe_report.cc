#include "src/compute/probe/probe_report.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/mix.h"
#include "src/base/status_macros.h"
#include "src/compute/probe/scores.h"

namespace dissonance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr uint64_t kBootstrapStream = 0x626F6F74;  // "boot"

constexpr double kSignalGap = 0.2;
constexpr double kSignalP = 0.05;
constexpr double kLeakAuc = 0.99;
constexpr double kLeakDummy = 0.6;

// Rows of the problem in folds, with these labels and decisions [rows * K].
TestedRows Tested(const ProbeProblem& problem, int64_t fold_count,
                  const std::vector<double>& labels,
                  const std::vector<double>& decisions) {
  return {.class_count = problem.class_count,
          .fold_count = fold_count,
          .decisions = decisions,
          .labels = labels,
          .fold = problem.fold,
          .group = problem.group};
}

// A fit's weights for activations as they are: decision = x . weight + bias.
struct RawFit {
  at::Tensor weight;          // [K, width]
  at::Tensor intercept = {};  // [K]
};

RawFit ToRaw(const LinearFitResult& fit, const ScaledRows& scaled,
             int64_t mask) {
  const auto [mean, scale] = scaled.Scaler(mask);
  RawFit raw{.weight = fit.weight / scale.to(at::kCPU)};
  raw.intercept = fit.intercept - raw.weight.mv(mean.to(at::kCPU));
  return raw;
}

void AddConvergence(const FitConvergence& from, FittedProbe& to) {
  to.converged = from.converged;
  to.iterations = from.iterations;
  to.gradient_max = from.gradient_max;
  if (!from.converged) {
    to.note =
        "not all fits converged: allow more iterations, or a larger "
        "penalty (smaller C)";
  }
}

void AddCounts(const ReportContext& context, FittedProbe& probe) {
  const ProbeProblem& problem = context.problem;
  probe.target = problem.target;
  probe.variant = problem.variant;
  probe.residual_norm = context.scaled.rows()
                            .norm(2, at::IntArrayRef{1}, false, at::kDouble)
                            .mean()
                            .item<double>();
  probe.class_counts.assign(
      static_cast<size_t>(std::max<int64_t>(problem.class_count, 1)), 0);
  for (const double label : problem.labels) {
    ++probe.class_counts[problem.class_count == 0 ? 0
                                                  : static_cast<size_t>(label)];
  }
}

void AddFigures(const ProblemFits& fits, const ReportContext& context,
                FittedProbe& probe) {
  const ProbeOptions& options = context.plan.options();
  const ProbeProblem& problem = context.problem;
  const TestedRows tested =
      Tested(problem, options.fold_count, problem.labels, fits.decisions[0]);
  FoldScores scores = ScoreFolds(tested);
  if (options.bootstrap_count > 0) {
    AddIntervals(tested, options.bootstrap_count,
                 Mix(options.seed) ^ kBootstrapStream, scores);
  }
  if (problem.class_count > 0) probe.auc = std::move(scores.auc);
  probe.accuracy = std::move(scores.accuracy);
}

// The further split is one fold.
void AddSplit(const ProblemFits& fits, const ReportContext& context,
              FittedProbe& probe) {
  ProbeProblem split = context.problem;
  if (split.in_split_test.empty()) return;
  for (size_t i = 0; i < split.fold.size(); ++i) {
    split.fold[i] = split.in_split_test[i] ? 0 : -1;
  }
  const FoldScores scores =
      ScoreFolds(Tested(split, 1, split.labels, fits.split_decisions));
  if (split.class_count > 0 && !std::isnan(scores.auc.mean)) {
    probe.split_auc = scores.auc.mean;
  }
  if (!std::isnan(scores.accuracy.mean)) {
    probe.split_accuracy = scores.accuracy.mean;
  }
}

double Headline(const FoldScores& scores, int64_t class_count) {
  return class_count == 0 ? scores.accuracy.mean : scores.auc.mean;
}

void AddControls(const ProblemFits& fits, const ReportContext& context,
                 FittedProbe& probe) {
  const ProbeProblem& problem = context.problem;
  const int64_t folds = context.plan.options().fold_count;
  const double own =
      problem.class_count == 0 ? probe.accuracy.mean : probe.auc->mean;
  if (std::isnan(own)) {
    probe.note = "no fold has a figure: the labels do not vary within folds";
    return;
  }
  double count = 0.0;
  double sum = 0.0;
  double squares = 0.0;
  double as_good = 0.0;
  for (size_t p = 0; p < problem.shuffled.size(); ++p) {
    const double figure =
        Headline(ScoreFolds(Tested(problem, folds, problem.shuffled[p],
                                   fits.decisions[p + 1])),
                 problem.class_count);
    if (std::isnan(figure)) continue;
    ++count;
    sum += figure;
    squares += figure * figure;
    if (figure >= own) ++as_good;
  }
  if (count == 0.0) return;
  const double mean = sum / count;
  probe.dummy_auc_mean = mean;
  probe.dummy_auc_deviation =
      std::sqrt(std::max(squares / count - mean * mean, 0.0));
  probe.p_value = (1.0 + as_good) / (1.0 + count);
  const bool is_rare =
      *probe.p_value <= kSignalP || 1.0 / (1.0 + count) > kSignalP;
  if (own > kLeakAuc && mean > kLeakDummy) {
    probe.verdict = ProbeVerdict::kLeak;
  } else if (own - mean > kSignalGap && is_rare) {
    probe.verdict = ProbeVerdict::kSignal;
  } else {
    probe.verdict = ProbeVerdict::kNone;
  }
}

// The folds' fits on the rows of another variant. Rows left out of this
// problem, and labels, are its own.
ProbeTransfer TransferTo(int64_t variant, const ProblemFits& fits,
                         const ReportContext& context) {
  const ProbeProblem& problem = context.problem;
  const at::Tensor rows =
      context.rows[static_cast<size_t>(variant)]
          .to(at::kCPU)
          .to(at::kDouble)
          .index_select(0, at::tensor(problem.rows, at::kLong));
  const size_t width = fits.decisions[0].size() / problem.rows.size();
  std::vector<double> decisions(fits.decisions[0].size(), kNan);
  const int64_t folds = context.plan.options().fold_count;
  for (int64_t fold = 0; fold < folds; ++fold) {
    const RawFit raw =
        ToRaw(fits.fits[static_cast<size_t>(fold)], context.scaled, fold);
    const at::Tensor scores = rows.mm(raw.weight.t()) + raw.intercept;
    const auto values = scores.accessor<double, 2>();
    for (size_t row = 0; row < problem.rows.size(); ++row) {
      if (problem.fold[row] != fold) continue;
      for (size_t k = 0; k < width; ++k) {
        decisions[row * width + k] =
            values[static_cast<int64_t>(row)][static_cast<int64_t>(k)];
      }
    }
  }
  FoldScores scores =
      ScoreFolds(Tested(problem, folds, problem.labels, decisions));
  return {.variant = variant,
          .auc = std::move(scores.auc),
          .accuracy = std::move(scores.accuracy)};
}

void AddWeights(const ProblemFits& fits, const ReportContext& context,
                FittedProbe& probe) {
  const auto all = static_cast<int64_t>(fits.fits.size()) - 1;
  const LinearFitResult& fit = fits.fits.back();
  const auto [mean, scale] = context.scaled.Scaler(all);
  const int64_t classes = fit.weight.size(0);
  probe.weights.weight =
      classes == 1 ? fit.weight[0].clone() : fit.weight.clone();
  for (int64_t k = 0; k < classes; ++k) {
    probe.weights.intercepts.push_back(fit.intercept[k].item<double>());
  }
  probe.weights.mean = mean.to(at::kCPU).contiguous();
  probe.weights.scale = scale.to(at::kCPU).contiguous();
  if (classes > 1) return;
  const RawFit raw = ToRaw(fit, context.scaled, all);
  probe.direction_bias = raw.intercept[0].item<double>();
  probe.direction_norm = raw.weight.norm().item<double>();
  if (probe.direction_norm > 0.0) {
    probe.direction = raw.weight[0] / probe.direction_norm;
  }
}

void AddDecisions(const ProblemFits& fits, const ReportContext& context,
                  FittedProbe& probe) {
  if (context.problem.class_count > 2) return;
  probe.decisions.assign(static_cast<size_t>(context.plan.row_count()), kNan);
  for (size_t i = 0; i < context.problem.rows.size(); ++i) {
    probe.decisions[static_cast<size_t>(context.problem.rows[i])] =
        fits.decisions[0][i];
  }
}

// Rows that are tested have a decision; it is finite unless numbers overflowed.
absl::Status CheckFinite(const ProblemFits& fits,
                         const ReportContext& context) {
  const ProbeProblem& problem = context.problem;
  const size_t width = fits.decisions[0].size() / problem.rows.size();
  for (const std::vector<double>& decisions : fits.decisions) {
    for (size_t i = 0; i < decisions.size(); ++i) {
      if (problem.fold[i / width] < 0 || std::isfinite(decisions[i])) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("variant ", problem.variant, ", C ", fits.c,
                       ": the fit without fold ", problem.fold[i / width],
                       " gives decisions that are not finite; the rows' "
                       "numbers or C are too "
                       "large, or its training rows do not vary"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FittedProbe> ReportOn(const ProblemFits& fits,
                                     const ReportContext& context) {
  RETURN_IF_ERROR(CheckFinite(fits, context));
  FittedProbe probe;
  probe.c = fits.c;
  AddCounts(context, probe);
  AddConvergence(fits.convergence, probe);
  AddFigures(fits, context, probe);
  AddSplit(fits, context, probe);
  AddControls(fits, context, probe);
  AddWeights(fits, context, probe);
  AddDecisions(fits, context, probe);
  if (context.plan.options().transfer) {
    for (int64_t v = 0; v < context.plan.variant_count(); ++v) {
      if (v == context.problem.variant) continue;
      probe.transfers.push_back(TransferTo(v, fits, context));
      if (context.problem.class_count == 0) {
        probe.transfers.back().auc = FoldFigure();
      }
    }
  }
  return probe;
}

absl::StatusOr<FittedProbe> ReportOnConstant(double c,
                                             const ReportContext& context) {
  const ProbeProblem& problem = context.problem;
  const int64_t width = context.scaled.width();
  const int64_t classes = problem.class_count > 2 ? problem.class_count : 1;
  ProblemFits fits{.c = c};
  const std::vector<double> zeros(
      problem.rows.size() * static_cast<size_t>(classes), 0.0);
  fits.decisions.assign(problem.shuffled.size() + 1, zeros);
  fits.split_decisions = zeros;
  fits.fits.assign(static_cast<size_t>(context.scaled.masks().size(0)),
                   {.weight = at::zeros({classes, width}, at::kDouble),
                    .intercept = at::zeros({classes}, at::kDouble)});
  ASSIGN_OR_RETURN(FittedProbe probe, ReportOn(fits, context));
  probe.note = "all rows are equal here: there is nothing to tell apart";
  return probe;
}

}  // namespace dissonance
