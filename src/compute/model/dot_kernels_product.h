// Products of dot_kernels.h; see dot_kernels_vector.h.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_

#include <cstdint>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/model/dot_kernels_vector.h"

namespace dissonance {
namespace {

// kRows x kOuts outputs from `out` on of the rows from `row` on.
template <int kRows, int kOuts, typename Weight, typename Wide>
inline void MultiplyTile(const RowProduct<Weight, Wide>& product, int64_t row,
                         int64_t out) {
  constexpr int64_t kStep = kLanes<Wide>;
  const Wide* x = product.x + row * product.x_stride;
  const Weight* weight = product.weight + out * product.weight_stride;
  Vector<Wide> sums[kRows][kOuts] = {};
  const int64_t whole = product.in / kStep * kStep;
  for (int64_t i = 0; i < whole; i += kStep) {
    Vector<Wide> own[kOuts];
    for (int o = 0; o < kOuts; ++o) {
      const Weight* from = weight + o * product.weight_stride + i;
      own[o] = Load(from);
      // The same place in the next tile: rows are too short for the
      // processor to foresee it.
      __builtin_prefetch(from + kAhead * product.weight_stride);
    }
    for (int r = 0; r < kRows; ++r) {
      const Vector<Wide> factors = Load(x + r * product.x_stride + i);
      for (int o = 0; o < kOuts; ++o) sums[r][o] += factors * own[o];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOuts; ++o) {
      Wide sum = SumLanes<Wide>(sums[r][o]);
      for (int64_t i = whole; i < product.in; ++i) {
        sum += x[r * product.x_stride + i] *
               Widen(weight[o * product.weight_stride + i]);
      }
      product.out[(row + r) * product.out_stride + out + o] = sum;
    }
  }
}

// kOuts outputs of all rows: the weights come from memory once.
template <int kOuts, typename Weight, typename Wide>
inline void MultiplyOuts(const RowProduct<Weight, Wide>& product, int64_t out) {
  int64_t row = 0;
  for (; row + 4 <= product.rows; row += 4) {
    constexpr int kAtOnce = DISSONANCE_ACCUMULATORS / 4 < kOuts
                                ? DISSONANCE_ACCUMULATORS / 4
                                : kOuts;
    for (int o = 0; o < kOuts; o += kAtOnce) {
      MultiplyTile<4, kAtOnce>(product, row, out + o);
    }
  }
  for (; row < product.rows; ++row) {
    MultiplyTile<1, kOuts>(product, row, out);
  }
}

template <typename Weight, typename Wide>
void Multiply(const RowProduct<Weight, Wide>& product, int64_t begin,
              int64_t end) {
  int64_t out = begin;
  for (; out + 8 <= end; out += 8) MultiplyOuts<8>(product, out);
  for (; out < end; ++out) MultiplyOuts<1>(product, out);
}

}  // namespace
}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_
