// Products of dot_kernels.h; see dot_kernels_vector.h.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_

#include <cstdint>

#include "src/compute/model/dot_kernels.h"
#include "src/compute/model/dot_kernels_vector.h"

namespace dissonance {
namespace {

// kRows x kOuts outputs from `out` on of the rows from `row` on. Reads
// `ahead` into the cache, as many bytes as the tile's own weights have: a
// processor foresees one stream, not the tile's several.
template <int kRows, int kOuts, typename Weight, typename Wide>
inline void MultiplyTile(const RowProduct<Weight, Wide>& product, int64_t row,
                         int64_t out, const Weight* ahead) {
  constexpr int64_t kStep = kLanes<Wide>;
  const Wide* x = product.x + row * product.x_stride;
  const Weight* weight = product.weight + out * product.weight_stride;
  Vector<Wide> sums[kRows][kOuts] = {};
  const int64_t whole = product.in / kStep * kStep;
  for (int64_t i = 0; i < whole; i += kStep) {
    Vector<Wide> own[kOuts];
    for (int o = 0; o < kOuts; ++o) {
      own[o] = Load(weight + o * product.weight_stride + i);
      __builtin_prefetch(ahead + i * kOuts + o * kStep);
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
        sum = MultiplyAdd(x[r * product.x_stride + i],
                          Widen(weight[o * product.weight_stride + i]), sum);
      }
      product.out[(row + r) * product.out_stride + out + o] = sum;
    }
  }
}

// kOuts outputs of all rows: the weights come from memory once.
template <int kOuts, typename Weight, typename Wide>
inline void MultiplyOuts(const RowProduct<Weight, Wide>& product, int64_t out) {
  const Weight* weight = product.weight + out * product.weight_stride;
  int64_t row = 0;
  for (; row + 4 <= product.rows; row += 4) {
    MultiplyTile<4, kOuts>(product, row, out,
                           weight + kOuts * product.weight_stride);
  }
  constexpr int64_t kAhead = kAheadBytes / static_cast<int64_t>(sizeof(Weight));
  for (; row < product.rows; ++row) {
    for (int o = 0; o < kOuts; ++o) {
      const Weight* own = weight + o * product.weight_stride;
      MultiplyTile<1, 1>(product, row, out + o, own + kAhead);
    }
  }
}

template <typename Weight, typename Wide>
void Multiply(const RowProduct<Weight, Wide>& product, int64_t begin,
              int64_t end) {
  constexpr int kAtOnce = DISSONANCE_ACCUMULATORS / 4;
  int64_t out = begin;
  for (; out + kAtOnce <= end; out += kAtOnce) {
    MultiplyOuts<kAtOnce>(product, out);
  }
  for (; out < end; ++out) MultiplyOuts<1>(product, out);
}

}  // namespace
}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_PRODUCT_H_
