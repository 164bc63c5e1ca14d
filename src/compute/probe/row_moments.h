// Sums over the rows of masks, and rows around their mean. Stateless, thread
// safe; may throw c10::Error.
//
//   const RowMoments moments = MomentsOf(rows, center, masks);
//   const at::Tensor variances = moments.squares / counts - ...;
#ifndef DISSONANCE_COMPUTE_PROBE_ROW_MOMENTS_H_
#define DISSONANCE_COMPUTE_PROBE_ROW_MOMENTS_H_

#include <ATen/core/Tensor.h>

namespace dissonance {

// Of each mask's rows less a center, [masks, width] float64.
struct RowMoments {
  at::Tensor sums;
  at::Tensor squares;
};

// `rows` [n, width] floating point, `center` [width] and `masks` [masks, n]
// float64, all on one device. On the CPU without a copy of the rows.
RowMoments MomentsOf(const at::Tensor& rows, const at::Tensor& center,
                     const at::Tensor& masks);

// (rows - center) / spread, computed in float64: [n, width] of `dtype`.
at::Tensor ScaleRows(const at::Tensor& rows, const at::Tensor& center,
                     const at::Tensor& spread, at::ScalarType dtype);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_ROW_MOMENTS_H_
