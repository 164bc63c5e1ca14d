#include "src/lab/interp/vectors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/mix.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

size_t BytesOf(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT32:
      return 4;
    case v1::DTYPE_BFLOAT16:
      return 2;
    case v1::DTYPE_FLOAT64:
      return 8;
    default:
      return 0;
  }
}

double NumberAt(const v1::Tensor& tensor, size_t index) {
  const char* const bytes =
      tensor.data().data() + index * BytesOf(tensor.dtype());
  if (tensor.dtype() == v1::DTYPE_FLOAT64) {
    double value = 0;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  uint32_t bits = 0;
  if (tensor.dtype() == v1::DTYPE_FLOAT32) {
    std::memcpy(&bits, bytes, sizeof(bits));
  } else {
    uint16_t upper = 0;
    std::memcpy(&upper, bytes, sizeof(upper));
    bits = static_cast<uint32_t>(upper) << 16;
  }
  return std::bit_cast<float>(bits);
}

// Scaled to length 1. REQUIRES: a length that is finite and not 0.
UnitVector Scaled(absl::Span<const double> values, std::vector<int64_t> shape) {
  const double length = LengthOf(values);
  UnitVector unit;
  unit.shape = std::move(shape);
  unit.values.reserve(values.size());
  for (const double value : values) {
    unit.values.push_back(static_cast<float>(value / length));
  }
  return unit;
}

}  // namespace

absl::StatusOr<std::vector<double>> TensorNumbers(const v1::Tensor& tensor) {
  const size_t bytes = BytesOf(tensor.dtype());
  if (bytes == 0) {
    return absl::InvalidArgumentError(
        "dtype: expected float32, float64 or bfloat16");
  }
  // A shape that multiplies to more than there are bytes never fits them.
  size_t count = 1;
  const size_t available = tensor.data().size() / bytes;
  for (const int64_t size : tensor.shape()) {
    if (size < 0 || (size > 0 && count > available)) {
      count = available + 1;
      break;
    }
    count *= static_cast<size_t>(size);
  }
  if (count * bytes != tensor.data().size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        tensor.data().size(), " bytes for a shape of [",
        absl::StrJoin(tensor.shape(), ", "), "] with ", bytes, " each"));
  }
  std::vector<double> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = NumberAt(tensor, i);
  return numbers;
}

v1::Tensor FloatTensor(absl::Span<const float> values,
                       absl::Span<const int64_t> shape) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(reinterpret_cast<const char*>(values.data()),
                  values.size() * sizeof(float));
  return tensor;
}

double LengthOf(absl::Span<const double> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

absl::StatusOr<UnitVector> UnitVectorOf(const v1::Tensor& tensor) {
  std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
  if (shape.size() == 2 && shape.front() == 1) shape.erase(shape.begin());
  if (shape.empty() || shape.size() > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape [", absl::StrJoin(tensor.shape(), ", "),
                     "]: expected [width] or [heads, head_dim]"));
  }
  ASSIGN_OR_RETURN(const std::vector<double> numbers, TensorNumbers(tensor));
  const double length = LengthOf(numbers);
  if (!std::isfinite(length) || length == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "its length is ", length, ", so it points in no direction"));
  }
  return Scaled(numbers, std::move(shape));
}

UnitVector RandomUnitVector(absl::Span<const int64_t> shape, uint64_t seed) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  // Normal numbers (Box & Muller 1958) point everywhere alike.
  std::vector<double> values(static_cast<size_t>(count));
  uint64_t state = Mix(seed);
  const auto uniform = [&state] {  // in (0, 1]
    state = Mix(state);
    return (static_cast<double>(state >> 11) + 1) * 0x1p-53;
  };
  for (double& value : values) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    value = radius * std::cos(2 * std::numbers::pi * uniform());
  }
  return Scaled(values, {shape.begin(), shape.end()});
}

}  // namespace dissonance
