// Vectors of directions as numbers: out of messages, to length 1, drawn at
// random. Pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(UnitVector unit, UnitVectorOf(message.tensor()));
//   UnitVector other = RandomUnitVector(unit.shape, seed);
#ifndef DISSONANCE_LAB_INTERP_VECTORS_H_
#define DISSONANCE_LAB_INTERP_VECTORS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance {

// The numbers of a float32, float64 or bfloat16 tensor, in row-major order.
// INVALID_ARGUMENT for another type, or bytes that do not fit the shape.
absl::StatusOr<std::vector<double>> TensorNumbers(const v1::Tensor& tensor);

// Float32.
v1::Tensor FloatTensor(absl::Span<const float> values,
                       absl::Span<const int64_t> shape);

// Euclidean, in float64.
double LengthOf(absl::Span<const double> values);

struct UnitVector {
  std::vector<float> values;   // of length 1, row-major
  std::vector<int64_t> shape;  // [width] or [heads, head_dim]
};

// INVALID_ARGUMENT if it is not of one or two dimensions, [1, width] counting
// as [width], or its length is 0 or not finite.
absl::StatusOr<UnitVector> UnitVectorOf(const v1::Tensor& tensor);

// Uniform over all directions; depends on shape and seed alone.
UnitVector RandomUnitVector(absl::Span<const int64_t> shape, uint64_t seed);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_VECTORS_H_
