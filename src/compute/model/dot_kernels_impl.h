// The loops of dot_kernels.h, for the vector unit that the including source is
// compiled for: DISSONANCE_VECTOR_BYTES and DISSONANCE_ACCUMULATORS say how
// wide its registers are and how many sums are kept in them. Everything is in
// an unnamed namespace and calls nothing that is shared with other sources,
// whose processor may be a lesser one.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_IMPL_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_IMPL_H_

#include <math.h>  // <cmath> has functions that sources share

#include <cstdint>
#include <utility>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "src/compute/model/dot_kernels.h"

namespace dissonance {
namespace {

constexpr int64_t kVectorBytes = DISSONANCE_VECTOR_BYTES;
// Rows of a weight by which reading is announced: they are too short for the
// processor to foresee the next.
constexpr int64_t kAhead = 16;

template <typename T, int64_t kBytes>
struct VectorOf {
  // May lie anywhere.
  typedef T Type  // NOLINT(modernize-use-using): takes attributes
      __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};

template <typename Wide>
using Vector = typename VectorOf<Wide, kVectorBytes>::Type;

template <typename Wide>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(Wide));

inline float Exp(float x) { return expf(x); }
inline double Exp(double x) { return exp(x); }
inline float Tanh(float x) { return tanhf(x); }
inline double Tanh(double x) { return tanh(x); }

template <typename Wide>
inline Vector<Wide> Load(const Wide* from) {
  return *reinterpret_cast<const Vector<Wide>*>(from);
}

inline Vector<float> Load(const Bfloat16Bits* from) {
#if defined(__AVX512F__)
  // The form with a mask, as GCC 12 warns of its own header's other one.
  const auto bits =
      reinterpret_cast<Vector<uint32_t>>(_mm512_maskz_cvtepu16_epi32(
          0xffff, *reinterpret_cast<const __m256i_u*>(from)));
#elif defined(__AVX2__)
  const auto bits = reinterpret_cast<Vector<uint32_t>>(
      _mm256_cvtepu16_epi32(*reinterpret_cast<const __m128i_u*>(from)));
#else
  using Half = VectorOf<uint16_t, kVectorBytes / 2>::Type;
  const auto bits = __builtin_convertvector(
      *reinterpret_cast<const Half*>(from), Vector<uint32_t>);
#endif
  return reinterpret_cast<Vector<float>>(bits << 16);
}

inline float Widen(float x) { return x; }
inline double Widen(double x) { return x; }
inline float Widen(Bfloat16Bits x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16);
}

// x with its lanes moved down by kBy, those at its end coming from the other.
template <int kBy, typename V, int... kLane>
inline V Rotated(const V& x, std::integer_sequence<int, kLane...>) {
  constexpr int kCount = sizeof...(kLane);
  return __builtin_shufflevector(x, x, ((kLane + kBy) % kCount)...);
}

template <typename Wide>
inline Wide SumLanes(Vector<Wide> x) {
  constexpr int kCount = static_cast<int>(kLanes<Wide>);
  constexpr std::make_integer_sequence<int, kCount> kAll;
  if constexpr (kCount > 8) x += Rotated<8 % kCount>(x, kAll);
  if constexpr (kCount > 4) x += Rotated<4 % kCount>(x, kAll);
  if constexpr (kCount > 2) x += Rotated<2 % kCount>(x, kAll);
  return x[0] + x[1];
}

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

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_IMPL_H_
