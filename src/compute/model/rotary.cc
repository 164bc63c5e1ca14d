#include "src/compute/model/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dissonance {
namespace {

constexpr int64_t kBlockPositions = 1024;

// Llama 3.1's scaling: long wavelengths are divided by `factor`, short ones
// kept, those between interpolated.
at::Tensor ScaleLlama3(const at::Tensor& frequencies, const RopeSpec& rope) {
  const at::Tensor wavelengths =
      frequencies.reciprocal() * (2.0 * std::numbers::pi);
  const at::Tensor is_long =
      wavelengths.gt(rope.original_max_positions / rope.low_freq_factor);
  const at::Tensor is_short =
      wavelengths.lt(rope.original_max_positions / rope.high_freq_factor);
  const at::Tensor smooth =
      (wavelengths.reciprocal() * rope.original_max_positions -
       rope.low_freq_factor) /
      (rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor between =
      (1.0 - smooth) * frequencies / rope.factor + smooth * frequencies;
  return at::where(is_short, frequencies,
                   at::where(is_long, frequencies / rope.factor, between));
}

}  // namespace

// The operations are transformers' own, in its order: another order would
// change the last bits, which a position of thousands multiplies.
at::Tensor InverseFrequencies(const RopeSpec& rope) {
  const at::Tensor exponents =
      at::arange(0, rope.width, 2, at::kLong).to(at::kFloat) /
      static_cast<double>(rope.width);
  at::Tensor frequencies = at::pow(rope.theta, exponents).reciprocal();
  switch (rope.scaling) {
    case RopeSpec::Scaling::kNone:
      return frequencies;
    case RopeSpec::Scaling::kLinear:
      return frequencies / rope.factor;
    case RopeSpec::Scaling::kLlama3:
      return ScaleLlama3(frequencies, rope);
  }
  return frequencies;
}

RotaryTable::RotaryTable(const RopeSpec& rope, const at::TensorOptions& options)
    : inverse_frequencies_(InverseFrequencies(rope)), options_(options) {
  const absl::MutexLock lock(&mutex_);
  Grow(1);
}

void RotaryTable::Grow(int64_t limit) const {
  const int64_t half = inverse_frequencies_.size(0);
  const float* frequencies = inverse_frequencies_.const_data_ptr<float>();
  const int64_t count =
      (limit + kBlockPositions - 1) / kBlockPositions * kBlockPositions;
  at::Tensor cos = at::empty({count, half}, at::kDouble);
  at::Tensor sin = at::empty({count, half}, at::kDouble);
  double* cos_at = cos.mutable_data_ptr<double>();
  double* sin_at = sin.mutable_data_ptr<double>();
  for (int64_t position = 0; position < count; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      *cos_at++ = std::cos(angle);
      *sin_at++ = std::sin(angle);
    }
  }
  cos_ = cos.to(options_);
  sin_ = sin.to(options_);
}

RotaryTable::Angles RotaryTable::At(const at::Tensor& positions,
                                    int64_t limit) const {
  const absl::MutexLock lock(&mutex_);
  if (limit > cos_.size(0)) Grow(std::max(limit, 2 * cos_.size(0)));
  return {cos_.index_select(0, positions), sin_.index_select(0, positions)};
}

}  // namespace dissonance
