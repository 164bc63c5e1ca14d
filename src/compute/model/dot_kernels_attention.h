// Attention of dot_kernels.h, and all kernels together; see
// dot_kernels_vector.h.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_ATTENTION_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_ATTENTION_H_

#include <cstdint>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/model/dot_kernels_product.h"
#include "src/compute/model/dot_kernels_vector.h"

namespace dissonance {
namespace {

// Sums values[i] in lanes, the rest after them.
template <typename Wide>
inline Wide Sum(const Wide* values, int64_t count) {
  Vector<Wide> lanes = {};
  const int64_t whole = count / kLanes<Wide> * kLanes<Wide>;
  for (int64_t i = 0; i < whole; i += kLanes<Wide>) lanes += Load(values + i);
  Wide sum = SumLanes<Wide>(lanes);
  for (int64_t i = whole; i < count; ++i) sum += values[i];
  return sum;
}

// kVectors vectors of the output from `column` on: the values' sum, each times
// its probability and `factor`.
template <int kVectors, typename Element, typename Wide>
inline void AverageColumns(const QueryAttention<Element, Wide>& attention,
                           Wide factor, int64_t column) {
  Vector<Wide> sums[kVectors] = {};
  const Element* values = attention.values + column;
  for (int64_t i = 0; i < attention.count;
       ++i, values += attention.value_stride) {
    const Wide probability = attention.scores[i];
    for (int v = 0; v < kVectors; ++v) {
      sums[v] += probability * Load(values + v * kLanes<Wide>);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const Vector<Wide> scaled = sums[v] * factor;
    __builtin_memcpy(attention.out + column + v * kLanes<Wide>, &scaled,
                     sizeof(scaled));
  }
}

template <typename Element, typename Wide>
void Average(const QueryAttention<Element, Wide>& attention, Wide factor) {
  constexpr int64_t kStep = kLanes<Wide>;
  int64_t column = 0;
  for (; column + 4 * kStep <= attention.width; column += 4 * kStep) {
    AverageColumns<4>(attention, factor, column);
  }
  for (; column + kStep <= attention.width; column += kStep) {
    AverageColumns<1>(attention, factor, column);
  }
  for (; column < attention.width; ++column) {
    Wide sum = 0;
    for (int64_t i = 0; i < attention.count; ++i) {
      sum += attention.scores[i] *
             Widen(attention.values[i * attention.value_stride + column]);
    }
    attention.out[column] = sum * factor;
  }
}

template <typename Element, typename Wide>
void Attend(const QueryAttention<Element, Wide>& attention) {
  const RowProduct<Element, Wide> products = {
      .x = attention.query,
      .x_stride = attention.width,
      .rows = 1,
      .weight = attention.keys,
      .weight_stride = attention.key_stride,
      .in = attention.width,
      .out = attention.scores,
      .out_stride = attention.count};
  Multiply(products, 0, attention.count);
  Wide* scores = attention.scores;
  for (int64_t i = 0; i < attention.count; ++i) scores[i] *= attention.scale;
  if (attention.softcap > 0) {
    for (int64_t i = 0; i < attention.count; ++i) {
      scores[i] = Tanh(scores[i] / attention.softcap) * attention.softcap;
    }
  }
  Wide most = scores[0];
  for (int64_t i = 1; i < attention.count; ++i) {
    most = scores[i] > most ? scores[i] : most;
  }
  // A score that is not a number makes all of them so.
  for (int64_t i = 0; i < attention.count; ++i) {
    scores[i] = Exp(scores[i] - most);
  }
  Average(attention, 1 / Sum(scores, attention.count));
}

constexpr DotKernels kDotKernelsHere = {
    .multiply_f32 = Multiply<float, float>,
    .multiply_f64 = Multiply<double, double>,
    .multiply_bf16 = Multiply<Bfloat16Bits, float>,
    .attend_f32 = Attend<float, float>,
    .attend_f64 = Attend<double, double>,
    .attend_bf16 = Attend<Bfloat16Bits, float>,
};

}  // namespace
}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_ATTENTION_H_
