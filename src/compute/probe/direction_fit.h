// Directions that tell rows apart. In float64, on the CPU. Pure; may throw
// c10::Error.
//
//   ASSIGN_OR_RETURN(FittedDirection direction,
//                    MeanDifference(rows, labels.classes));
#ifndef DISSONANCE_COMPUTE_PROBE_DIRECTION_FIT_H_
#define DISSONANCE_COMPUTE_PROBE_DIRECTION_FIT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dissonance {

struct FittedDirection {
  at::Tensor unit;             // [width], length 1
  double norm = 0.0;           // before it was made 1
  double residual_norm = 0.0;  // mean length of the rows used
};

// All give INVALID_ARGUMENT where nothing is used or the vector is 0. Rows are
// [rows, width]; classes are 0, 1, or -1 for rows left out.

// Mean of class 1 less mean of class 0.
absl::StatusOr<FittedDirection> MeanDifference(
    const at::Tensor& rows, const std::vector<int32_t>& classes);

// First principal component, around 0, of the differences of the means of
// class 1 and class 0 within each group; it points to class 1. Groups without
// both classes are left out. `norm` is the mean difference along it.
absl::StatusOr<FittedDirection> ContrastPca(
    const at::Tensor& rows, const std::vector<int32_t>& classes,
    const std::vector<std::string>& groups);

// Mean of `first`'s rows less that of `second`'s, over those of class 1; all
// if `classes` is empty.
absl::StatusOr<FittedDirection> VariantDifference(
    const at::Tensor& first, const at::Tensor& second,
    const std::vector<int32_t>& classes);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_DIRECTION_FIT_H_
