#include "src/compute/probe/fit_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <tuple>

#include "src/compute/probe/row_moments.h"

namespace dissonance {
namespace {

// Shares of a mean square below which a variance is rounding.
constexpr double kNoVariance = 1e-13;
// Shares of the largest eigenvalue below which one is rounding.
constexpr double kNoLength = 1e-12;
// Iterations that a fit takes, about.
constexpr double kIterations = 30.0;

// 1 where a variance is none.
at::Tensor DeviationOf(const at::Tensor& variance,
                       const at::Tensor& mean_square) {
  return at::where(variance > kNoVariance * mean_square, variance.sqrt(),
                   at::ones_like(variance));
}

}  // namespace

ScaledRows::ScaledRows(at::Tensor rows, at::Tensor masks, bool scale)
    : rows_(std::move(rows)), masks_(std::move(masks)) {
  is_constant_ =
      rows_[0].equal(rows_[-1]) && (rows_ == rows_[0]).all().item<bool>();
  // Of each mask's rows and, last, of all.
  const at::Tensor weights =
      at::cat({masks_, at::ones_like(masks_.slice(0, 0, 1))});
  const at::Tensor counts = weights.sum(1).unsqueeze(1);  // [masks + 1, 1]
  center_ = at::zeros({rows_.size(1)}, masks_.options());
  center_ =
      MomentsOf(rows_, center_, weights.slice(0, -1)).sums[0] / counts[-1];
  const RowMoments moments = MomentsOf(rows_, center_, weights);
  const at::Tensor means = moments.sums / counts;
  const at::Tensor squares = moments.squares / counts;
  spread_ = scale ? DeviationOf(squares[-1], squares[-1] + center_.square())
                  : at::ones_like(center_);
  const at::Tensor mean = means.slice(0, 0, -1) / spread_;
  const at::Tensor mean_square = squares.slice(0, 0, -1) / spread_.square();
  const at::Tensor variance = mean_square - mean.square();
  if (!scale) {
    total_variance_ = variance.sum(1);
    center_.zero_();
    coarse_ = rows_.scalar_type() == at::kDouble ? rows_ : rows_.to(at::kFloat);
    return;
  }
  mean_ = mean;
  scale_ = DeviationOf(variance, mean_square);
  total_variance_ = (variance / scale_.square()).sum(1);
  coarse_ =
      ScaleRows(rows_, center_, spread_,
                rows_.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor ScaledRows::Centered() const {
  return ScaleRows(rows_, center_, spread_, at::kDouble);
}

at::Tensor ScaledRows::Raw() const { return rows_.to(at::kDouble); }

FitRows ScaledRows::ForFits() const {
  FitRows rows{.coarse = coarse_,
               .exact = [this] { return Centered(); },
               .masks = masks_};
  if (mean_.defined()) {
    rows.mean = mean_;
    rows.inverse_scale = 1.0 / scale_;
  }
  return rows;
}

at::Tensor ScaledRows::Scaled(int64_t mask) const {
  if (!mean_.defined()) return Raw();
  return Centered().sub_(mean_.select(0, mask)).div_(scale_.select(0, mask));
}

std::pair<at::Tensor, at::Tensor> ScaledRows::Scaler(int64_t mask) const {
  if (!mean_.defined()) return {center_, spread_};
  return {center_ + spread_ * mean_.select(0, mask),
          spread_ * scale_.select(0, mask)};
}

SpanRows SpanOf(const at::Tensor& scaled) {
  const auto [values, vectors] = at::linalg_eigh(scaled.mm(scaled.t()));
  const at::Tensor floor = kNoLength * values.amax();
  const at::Tensor kept = (values > floor).nonzero().view({-1});
  const at::Tensor lengths = values.index_select(0, kept).sqrt();
  const at::Tensor own = vectors.index_select(1, kept);
  return {.coordinates = (own * lengths).contiguous(),
          .back = (own / lengths).contiguous()};
}

bool PrefersSpan(int64_t rows, int64_t width, int64_t masks, int64_t fits) {
  if (rows >= width) return false;
  const auto n = static_cast<double>(rows);
  const auto d = static_cast<double>(width);
  // An eigenvalue problem takes about 9 n^3, at a quarter of the products'
  // speed.
  const double once =
      static_cast<double>(masks) * (2.0 * n * n * d + 36.0 * n * n * n);
  const double saved =
      static_cast<double>(fits) * kIterations * 4.0 * n * (d - n);
  return once < saved;
}

}  // namespace dissonance
