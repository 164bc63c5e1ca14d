// Rows as fits want them: around their mean, at deviation 1, in float32 and
// float64, with each mask's own scaler on top; or, where it is cheaper, in
// coordinates of the rows' own span. May throw c10::Error.
//
//   const ScaledRows scaled(rows, masks, /*scale=*/true);
//   LinearFit fit(loss, scaled.ForFits(), settings, options);
#ifndef DISSONANCE_COMPUTE_PROBE_FIT_ROWS_H_
#define DISSONANCE_COMPUTE_PROBE_FIT_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

#include "src/compute/probe/linear_fit.h"

namespace dissonance {

// Rows and, for each of some masks (which rows train), a StandardScaler as
// scikit-learn fits it: deviations with n in the denominator, 1 where a column
// does not vary. Holds the rows, and half as much again in float32.
class ScaledRows {
 public:
  // `rows` [n, width] floating point, `masks` [masks, n] float64. Without
  // `scale` rows are used as they are.
  ScaledRows(at::Tensor rows, at::Tensor masks, bool scale);

  // For fits whose weights are in the masks' scaled units.
  FitRows ForFits() const;
  // [n, width] float64, scaled by a mask's scaler.
  at::Tensor Scaled(int64_t mask) const;
  // A mask's scaler: mean and scale [width], float64.
  std::pair<at::Tensor, at::Tensor> Scaler(int64_t mask) const;
  // The rows as they came, and in float64.
  const at::Tensor& rows() const { return rows_; }
  at::Tensor Raw() const;

  int64_t row_count() const { return rows_.size(0); }
  int64_t width() const { return rows_.size(1); }
  const at::Tensor& masks() const { return masks_; }
  // Of each mask's scaled training rows, the sum of their columns' variances,
  // [masks].
  const at::Tensor& total_variance() const { return total_variance_; }
  // Whether no column varies.
  bool is_constant() const { return is_constant_; }

 private:
  at::Tensor Centered() const;  // [n, width] float64

  const at::Tensor rows_;
  const at::Tensor masks_;
  at::Tensor center_;  // [width] float64
  at::Tensor spread_;  // [width]
  at::Tensor coarse_;  // [n, width] float32, or float64 as the rows
  at::Tensor mean_;    // [masks, width] around center, in units of spread
  at::Tensor scale_;   // [masks, width]
  at::Tensor total_variance_;
  bool is_constant_ = false;
};

// A mask's scaled rows Z in r <= n coordinates: Z = coordinates * basis^T, with
// an orthonormal basis = Z^T * back, so that lengths of weights are the same. A
// fit in these coordinates is the dual form of one to Z.
struct SpanRows {
  at::Tensor coordinates;  // [n, r] float64
  at::Tensor back;         // [n, r]
};
SpanRows SpanOf(const at::Tensor& scaled);

// Whether so many fits to each of `masks` are cheaper in SpanOf's coordinates,
// by their floating-point operations.
bool PrefersSpan(int64_t rows, int64_t width, int64_t masks, int64_t fits);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_FIT_ROWS_H_
