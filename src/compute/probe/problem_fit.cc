#include "src/compute/probe/problem_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Weights, gradients and their last changes of the fits of one batch.
constexpr int64_t kStateBytes = int64_t{256} << 20;
constexpr int64_t kStateVectors = 26;
// What an iteration works with beside them, and what it has of each row:
// scores, their changes and derivatives, labels, weights of the loss.
constexpr int64_t kWorkVectors = 14;
constexpr int64_t kRowVectors = 16;
// All that a mass-mean probe has, which is not iterated.
constexpr int64_t kMeanVectors = 8;
// A mask's mean and scale, and what they are computed with.
constexpr int64_t kScalerVectors = 8;
// What controls are fitted to: they are only counted.
constexpr double kControlTolerance = 1e-4;

at::Tensor OnDevice(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kDouble).to(like.device());
}

// How many fits of [classes, width] weights to so many rows are made in one go.
int64_t MostFits(int64_t rows, int64_t width, int64_t classes) {
  const int64_t numbers = (width + 1) * kStateVectors + rows * kRowVectors;
  return std::max<int64_t>(kStateBytes / (numbers * classes * 8), 1);
}

int64_t ScoreWidth(const ProbeProblem& problem) {
  return problem.class_count > 2 ? problem.class_count : 1;
}

// How many values of C make a difference.
size_t ValueCount(const ProbeOptions& options) {
  return options.method == ProbeMethod::kMassMean ||
                 options.method == ProbeMethod::kLda
             ? 1  // they have no C
             : options.c_values.size();
}

// Folds, the split, all rows.
int64_t MaskCount(const ProbePlan& plan, const ProbeProblem& problem) {
  return plan.options().fold_count + (problem.in_split_test.empty() ? 1 : 2);
}

// All fits; only those of folds have controls.
int64_t FitCount(const ProbePlan& plan, const ProbeProblem& problem) {
  const auto controls = static_cast<int64_t>(problem.shuffled.size());
  return static_cast<int64_t>(ValueCount(plan.options())) *
         (plan.options().fold_count * controls + MaskCount(plan, problem));
}

// Whether fits are made in the span of the rows, those of one mask at a time.
bool IsInSpan(const ProbePlan& plan, const ProbeProblem& problem,
              int64_t width) {
  return plan.options().method != ProbeMethod::kMassMean &&
         PrefersSpan(static_cast<int64_t>(problem.rows.size()), width,
                     MaskCount(plan, problem), FitCount(plan, problem));
}

LinearLoss LossOf(const ProbeOptions& options, int64_t class_count) {
  if (options.method != ProbeMethod::kLogistic) return LinearLoss::kSquared;
  return class_count > 2 ? LinearLoss::kSoftmax : LinearLoss::kLogistic;
}

}  // namespace

ProblemFit::ProblemFit(const ProbePlan& plan, const ProbeProblem& problem,
                       const std::vector<at::Tensor>& rows)
    : plan_(plan), problem_(problem), rows_(rows) {
  const size_t c_count = ValueCount(plan.options());
  const std::vector<double> untested(
      problem.rows.size() * static_cast<size_t>(score_width()), kNan);
  for (size_t c = 0; c < c_count; ++c) {
    results_.push_back({.c = plan.options().c_values[c],
                        .decisions = {problem.shuffled.size() + 1, untested},
                        .split_decisions = untested});
  }
}

int64_t ProblemFit::score_width() const { return ScoreWidth(problem_); }

void ProblemFit::MakeMasks() {
  const auto n = static_cast<int64_t>(problem_.rows.size());
  const int64_t folds = plan_.options().fold_count;
  const at::Tensor masks =
      at::ones({MaskCount(plan_, problem_), n}, at::kDouble);
  auto own = masks.accessor<double, 2>();
  for (int64_t i = 0; i < n; ++i) {
    const auto row = static_cast<size_t>(i);
    if (problem_.fold[row] >= 0) own[problem_.fold[row]][i] = 0.0;
    if (has_split() && problem_.in_split_test[row]) own[folds][i] = 0.0;
  }
  const at::Tensor& rows = rows_[static_cast<size_t>(problem_.variant)];
  masks_ = masks.to(rows.device());
}

bool ProblemFit::is_tested(const Fit& fit, size_t row) const {
  if (fit.mask < plan_.options().fold_count) {
    return problem_.fold[row] == fit.mask;
  }
  return fit.mask < all_mask() && problem_.in_split_test[row];
}

void ProblemFit::PlanBatches() {
  const int64_t folds = plan_.options().fold_count;
  std::vector<std::vector<Fit>> of_mask(static_cast<size_t>(mask_count()));
  for (size_t c = 0; c < results_.size(); ++c) {
    for (int64_t mask = 0; mask < mask_count(); ++mask) {
      const auto shuffled = static_cast<int64_t>(problem_.shuffled.size());
      for (int64_t p = -1; p < (mask < folds ? shuffled : 0); ++p) {
        of_mask[static_cast<size_t>(mask)].push_back({c, mask, p});
      }
    }
  }
  if (IsInSpan(plan_, problem_, scaled_->width())) {
    for (const std::vector<Fit>& own : of_mask) AddBatches(own, true);
    return;
  }
  std::vector<Fit> all;
  for (const std::vector<Fit>& own : of_mask) {
    all.insert(all.end(), own.begin(), own.end());
  }
  AddBatches(all, false);
}

void ProblemFit::AddBatches(const std::vector<Fit>& fits, bool in_span) {
  const int64_t width = in_span
                            ? std::min(scaled_->row_count(), scaled_->width())
                            : scaled_->width();
  const auto most =
      static_cast<size_t>(MostFits(scaled_->row_count(), width, score_width()));
  for (size_t i = 0; i < fits.size(); i += most) {
    const auto begin = fits.begin() + static_cast<ptrdiff_t>(i);
    const auto end =
        fits.begin() + static_cast<ptrdiff_t>(std::min(i + most, fits.size()));
    batches_.push_back({.fits = {begin, end}, .in_span = in_span});
  }
}

const std::vector<double>& ProblemFit::LabelsOf(const Fit& fit) const {
  return fit.permutation < 0
             ? problem_.labels
             : problem_.shuffled[static_cast<size_t>(fit.permutation)];
}

FitSettings ProblemFit::SettingsOf(const Batch& batch) const {
  const ProbeOptions& options = plan_.options();
  std::vector<int64_t> masks;
  std::vector<double> labels;
  std::vector<double> c;
  std::vector<double> tolerance;
  for (const Fit& fit : batch.fits) {
    masks.push_back(batch.in_span ? 0 : fit.mask);
    c.push_back(options.c_values[fit.c]);
    tolerance.push_back(fit.permutation < 0
                            ? options.tolerance
                            : std::max(options.tolerance, kControlTolerance));
    const std::vector<double>& own = LabelsOf(fit);
    labels.insert(labels.end(), own.begin(), own.end());
  }
  const auto m = static_cast<int64_t>(batch.fits.size());
  return {.mask = at::tensor(masks, at::kLong).to(masks_.device()),
          .labels = OnDevice(labels, masks_).view({m, -1}),
          .c = OnDevice(c, masks_),
          .tolerance = OnDevice(tolerance, masks_)};
}

void ProblemFit::Begin(const Batch& batch) {
  const ProbeOptions& options = plan_.options();
  FitRows rows = scaled_->ForFits();
  at::Tensor total_variance = scaled_->total_variance();
  if (batch.in_span) {
    const int64_t mask = batch.fits[0].mask;
    if (mask != span_mask_) {
      span_ = SpanOf(scaled_->Scaled(mask));
      span_mask_ = mask;
    }
    const at::Tensor exact = span_->coordinates;
    rows = {.coarse = rows.coarse.scalar_type() == at::kDouble
                          ? exact
                          : exact.to(at::kFloat),
            .exact = [exact] { return exact; },
            .masks = masks_.slice(0, mask, mask + 1)};
    total_variance = total_variance.slice(0, mask, mask + 1);
  }
  FitSettings settings = SettingsOf(batch);
  if (options.method == ProbeMethod::kLda) {
    lda_ = std::make_unique<LdaFit>(rows, std::move(settings), total_variance,
                                    scaled_->width(), options.shrinkage);
    settings = lda_->settings();
  }
  solver_ = std::make_unique<LinearFit>(
      LossOf(options, problem_.class_count), std::move(rows),
      std::move(settings),
      LinearFitOptions{.class_count = problem_.class_count,
                       .penalize_intercept = options.penalize_intercept,
                       .max_iterations = options.max_iterations});
}

bool ProblemFit::RunPiece() {
  if (scaled_ == nullptr) {
    MakeMasks();
    at::Tensor rows = rows_[static_cast<size_t>(problem_.variant)];
    if (static_cast<int64_t>(problem_.rows.size()) < rows.size(0)) {
      rows = rows.index_select(
          0, at::tensor(problem_.rows, at::kLong).to(rows.device()));
    }
    scaled_ = std::make_unique<const ScaledRows>(
        rows, masks_,
        plan_.options().scale &&
            plan_.options().method != ProbeMethod::kMassMean);
    for (ProblemFits& fits : results_) {
      fits.fits.resize(static_cast<size_t>(mask_count()));
    }
    if (!scaled_->is_constant()) PlanBatches();
    return true;
  }
  if (next_batch_ == batches_.size()) return false;
  const Batch& batch = batches_[next_batch_];
  if (plan_.options().method == ProbeMethod::kMassMean) {
    FitMeans(batch);
  } else if (solver_ == nullptr) {
    Begin(batch);
    return true;
  } else if (solver_->Iterate()) {
    return true;
  } else {
    Collect(batch);
  }
  ++next_batch_;
  return true;
}

void ProblemFit::FitMeans(const Batch& batch) {
  const FitSettings settings = SettingsOf(batch);
  const at::Tensor x = scaled_->Raw();
  const at::Tensor trains = masks_.index_select(0, settings.mask);
  const at::Tensor ones = trains * settings.labels;
  const at::Tensor zeros = trains - ones;
  const auto mean = [&x](const at::Tensor& weights) {
    return weights.mm(x) / weights.sum(1).clamp_min(1.0).unsqueeze(1);
  };
  const at::Tensor one_mean = mean(ones);
  const at::Tensor zero_mean = mean(zeros);
  const at::Tensor weights = one_mean - zero_mean;
  const at::Tensor intercepts =
      -0.5 * ((one_mean + zero_mean) * weights).sum(1).unsqueeze(1);
  Keep(batch, weights.unsqueeze(1), intercepts,
       (weights.mm(x.t()) + intercepts).unsqueeze(1));
}

void ProblemFit::Collect(const Batch& batch) {
  at::Tensor weights = solver_->weights();
  at::Tensor intercepts = solver_->intercepts();
  at::Tensor scores = solver_->scores();
  if (lda_ != nullptr) lda_->Finish(weights, intercepts, scores);
  if (batch.in_span) {
    // To the scaled units of the mask: v back^T Z.
    const int64_t m = weights.size(0);
    weights = weights.flatten(0, 1)
                  .mm(span_->back.t())
                  .mm(scaled_->Scaled(span_mask_))
                  .view({m, -1, scaled_->width()});
  }
  for (size_t i = 0; i < batch.fits.size(); ++i) {
    const Fit& fit = batch.fits[i];
    if (fit.permutation >= 0) continue;  // controls are only counted
    FitConvergence& own = results_[fit.c].convergence;
    const double left = solver_->gradient_max()[i];
    own.iterations = std::max(own.iterations, solver_->iterations()[i]);
    own.converged = own.converged && left <= plan_.options().tolerance;
    own.gradient_max = std::max(own.gradient_max, left);
  }
  Keep(batch, weights, intercepts, scores);
  solver_.reset();
  lda_.reset();
}

void ProblemFit::Keep(const Batch& batch, const at::Tensor& weights,
                      const at::Tensor& intercepts, const at::Tensor& scores) {
  const auto width = static_cast<size_t>(score_width());
  const at::Tensor on_host = scores.to(at::kCPU).contiguous();
  const auto values = on_host.accessor<double, 3>();
  for (size_t i = 0; i < batch.fits.size(); ++i) {
    const Fit& fit = batch.fits[i];
    const auto m = static_cast<int64_t>(i);
    std::vector<double>& to =
        fit.mask < plan_.options().fold_count
            ? results_[fit.c]
                  .decisions[static_cast<size_t>(fit.permutation + 1)]
            : results_[fit.c].split_decisions;
    for (size_t row = 0; row < problem_.rows.size(); ++row) {
      if (!is_tested(fit, row)) continue;
      for (size_t k = 0; k < width; ++k) {
        to[row * width + k] =
            values[m][static_cast<int64_t>(k)][static_cast<int64_t>(row)];
      }
    }
    if (fit.permutation >= 0) continue;
    // Copies: a view would keep what all fits of the batch came to.
    const auto own = [m](const at::Tensor& all) {
      return all.select(0, m).to(at::kCPU, at::kDouble, false, /*copy=*/true);
    };
    results_[fit.c].fits[static_cast<size_t>(fit.mask)] = {
        .weight = own(weights), .intercept = own(intercepts)};
  }
}

absl::StatusOr<std::vector<FittedProbe>> ProblemFit::Take() {
  const ReportContext context{plan_, problem_, rows_, *scaled_};
  std::vector<FittedProbe> probes;
  for (const ProblemFits& fits : results_) {
    ASSIGN_OR_RETURN(probes.emplace_back(),
                     scaled_->is_constant() ? ReportOnConstant(fits.c, context)
                                            : ReportOn(fits, context));
  }
  return probes;
}

int64_t ProblemFit::Bytes(const ProbePlan& plan, int64_t width) {
  int64_t most = 0;
  for (const ProbeProblem& problem : plan.problems()) {
    const auto n = static_cast<int64_t>(problem.rows.size());
    const int64_t classes = ScoreWidth(problem);
    // Rows in float32 and, three times, in float64; scalers, and the weights
    // that are kept.
    const int64_t of_mask =
        kScalerVectors +
        classes * static_cast<int64_t>(ValueCount(plan.options()));
    int64_t bytes =
        n * width * 28 + MaskCount(plan, problem) * of_mask * width * 8;
    int64_t own = width;
    int64_t fits = FitCount(plan, problem);
    if (IsInSpan(plan, problem, width)) {
      own = n;
      fits = static_cast<int64_t>(ValueCount(plan.options()) *
                                  (problem.shuffled.size() + 1));
      bytes += n * n * 64;  // its eigenvalue problem
    }
    fits = std::min(fits, MostFits(n, own, classes));
    const int64_t vectors = plan.options().method == ProbeMethod::kMassMean
                                ? kMeanVectors
                                : kStateVectors + kWorkVectors;
    bytes += fits * classes * 8 *
             ((own + 1) * vectors + n * kRowVectors + width * 2);
    most = std::max(most, bytes);
  }
  return most;
}

int64_t ProblemFit::Products(const ProbePlan& plan, int64_t width) {
  int64_t most = 0;
  for (const ProbeProblem& problem : plan.problems()) {
    const auto n = static_cast<int64_t>(problem.rows.size());
    const int64_t classes = ScoreWidth(problem);
    const int64_t fits =
        std::min(FitCount(plan, problem), MostFits(n, width, classes));
    most = std::max(most, 2 * n * width * fits * classes);
  }
  return most;
}

}  // namespace dissonance
