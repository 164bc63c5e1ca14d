// Vectors of numbers for the loops of dot_kernels.h, of the unit that the
// including source is compiled for: DISSONANCE_VECTOR_BYTES and
// DISSONANCE_ACCUMULATORS say how wide its registers are and how many sums are
// kept in them. Everything is in an unnamed namespace and calls nothing that is
// shared with other sources, whose processor may be a lesser one.
#ifndef DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_VECTOR_H_
#define DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_VECTOR_H_

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
constexpr int64_t kLineBytes = 64;
// How far ahead reading is announced.
constexpr int64_t kAheadBytes = 1024;

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

// One rounding, wherever the compiler meets it.
inline float MultiplyAdd(float x, float y, float sum) {
  return __builtin_fmaf(x, y, sum);
}
inline double MultiplyAdd(double x, double y, double sum) {
  return __builtin_fma(x, y, sum);
}

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

}  // namespace
}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_DOT_KERNELS_VECTOR_H_
