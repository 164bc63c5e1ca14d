#include "src/compute/train/dropout_mask.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "src/base/mix.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

namespace dissonance {
namespace {

// Numbers for which it is worth to wake another thread.
constexpr int64_t kGrain = 1 << 15;

// A 32-bit hash with two rounds of multiplication (C. Wellons' lowbias32), the
// second half of the key between them.
constexpr uint32_t kMultiplier1 = 0x7FEB352DU;
constexpr uint32_t kMultiplier2 = 0x846CA68BU;

struct RowMask {
  RowMask(uint64_t row_key, uint64_t module, double rate)
      : threshold(static_cast<uint32_t>(
            std::min(std::round(rate * 0x1p32), 0x1p32 - 1.0))) {
    const uint64_t key = Mix(row_key ^ Mix(module));
    begin = static_cast<uint32_t>(key);
    twist = static_cast<uint32_t>(key >> 32);
  }

  bool Keeps(uint32_t column) const {
    uint32_t x = column + begin;
    x ^= x >> 16;
    x *= kMultiplier1;
    x ^= twist;
    x ^= x >> 15;
    x *= kMultiplier2;
    x ^= x >> 16;
    return x >= threshold;
  }

  uint32_t begin = 0;
  uint32_t twist = 0;
  uint32_t threshold;
};

template <typename T>
[[gnu::always_inline]] inline void DropRow(const RowMask& row, T scale,
                                           const T* __restrict x,
                                           T* __restrict out, int32_t width) {
  const RowMask mask = row;
  for (int32_t i = 0; i < width; ++i) {
    const T scaled = x[i] * scale;
    out[i] = mask.Keeps(static_cast<uint32_t>(i)) ? scaled : T{0};
  }
}

DISSONANCE_VECTOR_KERNEL void DropFloats(const RowMask& mask, float scale,
                                         const float* x, float* out,
                                         int32_t width) {
  DropRow(mask, scale, x, out, width);
}

DISSONANCE_VECTOR_KERNEL void DropDoubles(const RowMask& mask, double scale,
                                          const double* x, double* out,
                                          int32_t width) {
  DropRow(mask, scale, x, out, width);
}

// The bits of bfloat16 numbers, rounded to nearest, ties to even. NaN stays
// NaN: its lower bits are 0.
DISSONANCE_VECTOR_KERNEL void DropBfloat16s(const RowMask& row, float scale,
                                            const uint16_t* __restrict x,
                                            uint16_t* __restrict out,
                                            int32_t width) {
  const RowMask mask = row;
  for (int32_t i = 0; i < width; ++i) {
    const float scaled =
        std::bit_cast<float>(static_cast<uint32_t>(x[i]) << 16) * scale;
    const auto bits = std::bit_cast<uint32_t>(scaled);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    out[i] = mask.Keeps(static_cast<uint32_t>(i))
                 ? static_cast<uint16_t>(rounded)
                 : uint16_t{0};
  }
}

template <typename T, typename Scale, typename Kernel>
void DropAll(const at::Tensor& x, absl::Span<const uint64_t> keys,
             uint64_t module, double rate, const at::Tensor& out,
             Kernel kernel) {
  const int64_t width = x.size(1);
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  auto* to = static_cast<T*>(out.mutable_data_ptr());
  const auto scale = static_cast<Scale>(1.0 / (1.0 - rate));
  ParallelFor(0, x.size(0), std::max<int64_t>(kGrain / width, 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < end; ++row) {
                  const RowMask mask(keys[static_cast<size_t>(row)], module,
                                     rate);
                  kernel(mask, scale, from + row * x.stride(0),
                         to + row * width, static_cast<int32_t>(width));
                }
              });
}

// x >> places of unsigned numbers in signed ones' place.
at::Tensor ShiftRight(const at::Tensor& x, int places) {
  return at::bitwise_right_shift(x, places).bitwise_and_(
      (int64_t{1} << (32 - places)) - 1);
}

int64_t AsSigned(uint32_t bits) {
  return static_cast<int64_t>(std::bit_cast<int32_t>(bits));
}

}  // namespace

at::Tensor DropoutRows(const at::Tensor& x, absl::Span<const uint64_t> keys,
                       uint64_t module, double rate) {
  const at::ScalarType type = x.scalar_type();
  if (!x.is_cpu() ||
      (type != at::kFloat && type != at::kDouble && type != at::kBFloat16)) {
    return DropoutRowsByOperators(x, keys, module, rate);
  }
  const at::Tensor rows = x.stride(1) == 1 ? x : x.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  if (out.numel() == 0) return out;
  if (type == at::kFloat) {
    DropAll<float, float>(rows, keys, module, rate, out, DropFloats);
  } else if (type == at::kDouble) {
    DropAll<double, double>(rows, keys, module, rate, out, DropDoubles);
  } else {
    DropAll<uint16_t, float>(rows, keys, module, rate, out, DropBfloat16s);
  }
  return out;
}

at::Tensor DropoutRowsByOperators(const at::Tensor& x,
                                  absl::Span<const uint64_t> keys,
                                  uint64_t module, double rate) {
  const auto rows = static_cast<int64_t>(keys.size());
  at::Tensor key_halves = at::empty({2, rows, 1}, at::kInt);
  auto* halves = key_halves.mutable_data_ptr<int32_t>();
  uint32_t threshold = 0;
  for (size_t row = 0; row < keys.size(); ++row) {
    const RowMask mask(keys[row], module, rate);
    halves[row] = std::bit_cast<int32_t>(mask.begin);
    halves[keys.size() + row] = std::bit_cast<int32_t>(mask.twist);
    threshold = mask.threshold;
  }
  key_halves = key_halves.to(x.device());
  at::Tensor bits = at::arange(x.size(1), key_halves.options()) +
                    key_halves.select(0, 0);  // [rows, width]
  bits.bitwise_xor_(ShiftRight(bits, 16)).mul_(AsSigned(kMultiplier1));
  bits.bitwise_xor_(key_halves.select(0, 1));
  bits.bitwise_xor_(ShiftRight(bits, 15)).mul_(AsSigned(kMultiplier2));
  bits.bitwise_xor_(ShiftRight(bits, 16));
  // Compared as unsigned: with the highest bits turned round.
  constexpr uint32_t kHighest = 0x80000000U;
  const at::Tensor kept =
      bits.bitwise_xor_(AsSigned(kHighest)).ge(AsSigned(threshold ^ kHighest));
  const at::ScalarType wide =
      x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::where(kept, x.to(wide) * (1.0 / (1.0 - rate)), 0.0)
      .to(x.scalar_type());
}

}  // namespace dissonance
