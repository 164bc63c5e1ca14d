#include "src/compute/probe/problem_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "src/base/mix.h"

namespace dissonance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Weights, gradients and their last changes of the fits of one batch.
constexpr int64_t kStateBytes = int64_t{256} << 20;
constexpr int64_t kStateVectors = 26;
// What controls are fitted to: they are only counted.
constexpr double kControlTolerance = 1e-4;

at::Tensor OnDevice(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kDouble).to(like.device());
}

LinearLoss LossOf(const ProbeOptions& options, int64_t class_count) {
  if (options.method != ProbeMethod::kLogistic) return LinearLoss::kSquared;
  return class_count > 2 ? LinearLoss::kSoftmax : LinearLoss::kLogistic;
}

}  // namespace

ProblemFit::ProblemFit(const ProbePlan& plan, const ProbeProblem& problem,
                       const std::vector<at::Tensor>& rows)
    : plan_(plan), problem_(problem), rows_(rows) {
  const size_t c_count = plan.options().method == ProbeMethod::kMassMean ||
                                 plan.options().method == ProbeMethod::kLda
                             ? 1  // they have no C
                             : plan.options().c_values.size();
  const std::vector<double> untested(
      problem.rows.size() * static_cast<size_t>(score_width()), kNan);
  for (size_t c = 0; c < c_count; ++c) {
    fits_.push_back({.c = plan.options().c_values[c],
                     .decisions = {problem.shuffled.size() + 1, untested},
                     .split_decisions = untested});
  }
}

int64_t ProblemFit::score_width() const {
  return std::max<int64_t>(problem_.class_count > 2 ? problem_.class_count : 1,
                           1);
}

void ProblemFit::MakeMasks() {
  const auto n = static_cast<int64_t>(problem_.rows.size());
  const int64_t folds = plan_.options().fold_count;
  const at::Tensor masks =
      at::ones({n, folds + (has_split() ? 2 : 1)}, at::kDouble);
  auto own = masks.accessor<double, 2>();
  for (int64_t i = 0; i < n; ++i) {
    const auto row = static_cast<size_t>(i);
    if (problem_.fold[row] >= 0) own[i][problem_.fold[row]] = 0.0;
    if (has_split() && problem_.in_split_test[row]) own[i][folds] = 0.0;
  }
  const at::Tensor& rows = rows_[static_cast<size_t>(problem_.variant)];
  masks_ = masks.to(rows.device());
}

bool ProblemFit::is_tested(const Column& column, size_t row) const {
  if (column.mask < plan_.options().fold_count) {
    return problem_.fold[row] == column.mask;
  }
  return column.mask < all_mask() && problem_.in_split_test[row];
}

void ProblemFit::PlanBatches() {
  const int64_t folds = plan_.options().fold_count;
  std::vector<std::vector<Column>> of_mask(static_cast<size_t>(mask_count()));
  for (size_t c = 0; c < fits_.size(); ++c) {
    for (int64_t mask = 0; mask < mask_count(); ++mask) {
      const auto shuffled = static_cast<int64_t>(problem_.shuffled.size());
      for (int64_t p = -1; p < (mask < folds ? shuffled : 0); ++p) {
        of_mask[static_cast<size_t>(mask)].push_back({c, mask, p});
      }
    }
  }
  std::vector<Column> all;
  for (const std::vector<Column>& own : of_mask) {
    all.insert(all.end(), own.begin(), own.end());
  }
  const bool in_span =
      plan_.options().method != ProbeMethod::kMassMean &&
      PrefersSpan(scaled_->row_count(), scaled_->width(), mask_count(),
                  static_cast<int64_t>(all.size()));
  if (in_span) {
    for (const std::vector<Column>& own : of_mask) AddBatches(own, true);
  } else {
    AddBatches(all, false);
  }
}

void ProblemFit::AddBatches(const std::vector<Column>& columns, bool in_span) {
  const int64_t width = in_span
                            ? std::min(scaled_->row_count(), scaled_->width())
                            : scaled_->width();
  const auto most = static_cast<size_t>(std::max<int64_t>(
      kStateBytes / ((width + 1) * score_width() * kStateVectors * 8), 1));
  for (size_t i = 0; i < columns.size(); i += most) {
    const auto begin = columns.begin() + static_cast<ptrdiff_t>(i);
    const auto end = columns.begin() +
                     static_cast<ptrdiff_t>(std::min(i + most, columns.size()));
    batches_.push_back({.columns = {begin, end}, .in_span = in_span});
  }
}

const std::vector<double>& ProblemFit::LabelsOf(const Column& column) const {
  return column.permutation < 0
             ? problem_.labels
             : problem_.shuffled[static_cast<size_t>(column.permutation)];
}

FitColumns ProblemFit::ColumnsOf(const Batch& batch) const {
  const ProbeOptions& options = plan_.options();
  std::vector<int64_t> masks;
  std::vector<double> labels;
  std::vector<double> c;
  std::vector<double> tolerance;
  for (const Column& column : batch.columns) {
    masks.push_back(batch.in_span ? 0 : column.mask);
    c.push_back(options.c_values[column.c]);
    tolerance.push_back(column.permutation < 0
                            ? options.tolerance
                            : std::max(options.tolerance, kControlTolerance));
    const std::vector<double>& own = LabelsOf(column);
    labels.insert(labels.end(), own.begin(), own.end());
  }
  const auto m = static_cast<int64_t>(batch.columns.size());
  return {.mask = at::tensor(masks, at::kLong).to(masks_.device()),
          .labels = OnDevice(labels, masks_).view({m, -1}).t().contiguous(),
          .c = OnDevice(c, masks_),
          .tolerance = OnDevice(tolerance, masks_)};
}

void ProblemFit::Begin(const Batch& batch) {
  const ProbeOptions& options = plan_.options();
  FitRows rows = scaled_->ForFits();
  at::Tensor total_variance = scaled_->total_variance();
  if (batch.in_span) {
    const int64_t mask = batch.columns[0].mask;
    if (mask != span_mask_) {
      span_ = SpanOf(scaled_->Scaled(mask));
      span_mask_ = mask;
    }
    const at::Tensor exact = span_->coordinates;
    rows = {.coarse = rows.coarse.scalar_type() == at::kDouble
                          ? exact
                          : exact.to(at::kFloat),
            .exact = [exact] { return exact; },
            .masks = masks_.slice(1, mask, mask + 1)};
    total_variance = total_variance.slice(0, mask, mask + 1);
  }
  FitColumns columns = ColumnsOf(batch);
  if (options.method == ProbeMethod::kLda) {
    lda_ = std::make_unique<LdaFit>(rows, std::move(columns), total_variance,
                                    scaled_->width(), options.shrinkage);
    columns = lda_->columns();
  }
  fit_ = std::make_unique<LinearFit>(
      LossOf(options, problem_.class_count), std::move(rows),
      std::move(columns),
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
    for (ProblemFits& fits : fits_) {
      fits.fits.resize(static_cast<size_t>(mask_count()));
    }
    if (!scaled_->is_constant()) PlanBatches();
    return true;
  }
  if (next_batch_ == batches_.size()) return false;
  const Batch& batch = batches_[next_batch_];
  if (plan_.options().method == ProbeMethod::kMassMean) {
    FitMeans(batch);
  } else if (fit_ == nullptr) {
    Begin(batch);
    return true;
  } else if (fit_->Iterate()) {
    return true;
  } else {
    Collect(batch);
  }
  ++next_batch_;
  return true;
}

void ProblemFit::FitMeans(const Batch& batch) {
  const FitColumns columns = ColumnsOf(batch);
  const at::Tensor x = scaled_->Raw();
  const at::Tensor trains = masks_.index_select(1, columns.mask);
  const at::Tensor ones = trains * columns.labels;
  const at::Tensor zeros = trains - ones;
  const at::Tensor one_mean = x.t().mm(ones) / ones.sum(0).clamp_min(1.0);
  const at::Tensor zero_mean = x.t().mm(zeros) / zeros.sum(0).clamp_min(1.0);
  const at::Tensor weights = one_mean - zero_mean;
  const at::Tensor intercepts =
      -0.5 * ((one_mean + zero_mean) * weights).sum(0);
  Keep(batch, weights.unsqueeze(2), intercepts.unsqueeze(1),
       (x.mm(weights) + intercepts).unsqueeze(2));
}

void ProblemFit::Collect(const Batch& batch) {
  at::Tensor weights = fit_->weights();
  at::Tensor intercepts = fit_->intercepts();
  at::Tensor scores = fit_->scores();
  if (lda_ != nullptr) lda_->Finish(weights, intercepts, scores);
  if (batch.in_span) {
    // To the scaled units of the mask: Z^T back v.
    const int64_t m = weights.size(1);
    const at::Tensor rows = span_->back.mm(weights.flatten(1));
    weights = scaled_->Scaled(span_mask_)
                  .t()
                  .mm(rows)
                  .view({scaled_->width(), m, -1});
  }
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    const Column& column = batch.columns[i];
    FitConvergence& own = fits_[column.c].convergence;
    const double left = fit_->gradient_max()[i];
    const bool is_control = column.permutation >= 0;
    const double tolerance =
        is_control ? std::max(plan_.options().tolerance, kControlTolerance)
                   : plan_.options().tolerance;
    own.converged = own.converged && left <= tolerance;
    own.iterations = std::max(own.iterations, fit_->iterations()[i]);
    if (!is_control) own.gradient_max = std::max(own.gradient_max, left);
  }
  Keep(batch, weights, intercepts, scores);
  fit_.reset();
  lda_.reset();
}

void ProblemFit::Keep(const Batch& batch, const at::Tensor& weights,
                      const at::Tensor& intercepts, const at::Tensor& scores) {
  const auto width = static_cast<size_t>(score_width());
  const at::Tensor on_host = scores.to(at::kCPU).contiguous();
  const auto values = on_host.accessor<double, 3>();
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    const Column& column = batch.columns[i];
    const auto m = static_cast<int64_t>(i);
    std::vector<double>& to =
        column.mask < plan_.options().fold_count
            ? fits_[column.c]
                  .decisions[static_cast<size_t>(column.permutation + 1)]
            : fits_[column.c].split_decisions;
    for (size_t row = 0; row < problem_.rows.size(); ++row) {
      if (!is_tested(column, row)) continue;
      for (size_t k = 0; k < width; ++k) {
        to[row * width + k] =
            values[static_cast<int64_t>(row)][m][static_cast<int64_t>(k)];
      }
    }
    if (column.permutation >= 0) continue;
    fits_[column.c].fits[static_cast<size_t>(column.mask)] = {
        .weight = weights.select(1, m).to(at::kCPU).contiguous(),
        .intercept = intercepts.select(0, m).to(at::kCPU).contiguous()};
  }
}

std::vector<FittedProbe> ProblemFit::Take() {
  const ReportContext context{plan_, problem_, rows_, *scaled_};
  std::vector<FittedProbe> probes;
  for (const ProblemFits& fits : fits_) {
    probes.push_back(scaled_->is_constant() ? ReportOnConstant(fits.c, context)
                                            : ReportOn(fits, context));
  }
  return probes;
}

int64_t ProblemFit::Bytes(const ProbePlan& plan, int64_t width) {
  int64_t most = 0;
  for (const ProbeProblem& problem : plan.problems()) {
    most = std::max(most, static_cast<int64_t>(problem.rows.size()));
  }
  // Rows in float32 and, three times, in float64; scores of a batch.
  return most * width * 28 + 2 * kStateBytes;
}

}  // namespace dissonance
