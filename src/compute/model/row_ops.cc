#include "src/compute/model/row_ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>

namespace dissonance {
namespace {

// glibc's vector versions of exp, one lane an element: the compiler may use
// them for a loop of calls. Each element's value depends on its column only,
// as rows are computed one by one.
extern "C" {
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((simd("notinbranch"), const)) float expf(float x) noexcept;
__attribute__((simd("notinbranch"), const)) double exp(double x) noexcept;
#endif
}

void LinearInto(at::Tensor out, const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias) {
  if (bias.has_value()) {
    at::addmm_out(out, *bias, x, weight.t());
  } else {
    at::mm_out(out, x, weight.t());
  }
}

void TiledLinearInto(at::Tensor out, const at::Tensor& x,
                     const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, int64_t tile) {
  const int64_t rows = x.size(0);
  const int64_t whole = rows / tile * tile;
  for (int64_t row = 0; row < whole; row += tile) {
    LinearInto(out.narrow(0, row, tile), x.narrow(0, row, tile), weight, bias);
  }
  if (whole == rows) return;
  at::Tensor padded = at::zeros({tile, x.size(1)}, x.options());
  padded.narrow(0, 0, rows - whole).copy_(x.narrow(0, whole, rows - whole));
  at::Tensor result = at::empty({tile, weight.size(0)}, x.options());
  LinearInto(result, padded, weight, bias);
  out.narrow(0, whole, rows - whole).copy_(result.narrow(0, 0, rows - whole));
}

__attribute__((target_clones("avx512f", "avx2", "default"))) void SwiGluRow(
    const float* gate, const float* up, float* out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    out[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
  }
}

__attribute__((target_clones("avx512f", "avx2", "default"))) void SwiGluRow(
    const double* gate, const double* up, double* out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    out[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
  }
}

template <typename T>
void SwiGluRows(const at::Tensor& gate_up, at::Tensor& out) {
  const int64_t width = out.size(1);
  const T* in = gate_up.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  at::parallel_for(0, out.size(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* gate = in + row * 2 * width;
      SwiGluRow(gate, gate + width, result + row * width, width);
    }
  });
}

// bfloat16 rounds silu before the product, as transformers does.
void SwiGluRowsBfloat16(const at::Tensor& gate_up, at::Tensor& out) {
  const int64_t width = out.size(1);
  const c10::BFloat16* in = gate_up.const_data_ptr<c10::BFloat16>();
  c10::BFloat16* result = out.mutable_data_ptr<c10::BFloat16>();
  at::parallel_for(0, out.size(0), 8, [&](int64_t begin, int64_t end) {
    std::vector<float> gate(static_cast<size_t>(width));
    const std::vector<float> ones(static_cast<size_t>(width), 1.0F);
    for (int64_t row = begin; row < end; ++row) {
      const c10::BFloat16* gates = in + row * 2 * width;
      std::copy_n(gates, width, gate.begin());
      SwiGluRow(gate.data(), ones.data(), gate.data(), width);
      for (int64_t i = 0; i < width; ++i) {
        const float silu =
            static_cast<c10::BFloat16>(gate[static_cast<size_t>(i)]);
        result[row * width + i] = silu * static_cast<float>(gates[width + i]);
      }
    }
  });
}

}  // namespace

at::Tensor RowLinear(const at::Tensor& x, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, RowKinds kinds) {
  if (!kinds.tiled) return at::linear(x, weight, bias);
  const int64_t rows = x.size(0);
  const int64_t prefill = std::min(kinds.prefill, rows);
  at::Tensor out = at::empty({rows, weight.size(0)}, x.options());
  TiledLinearInto(out.narrow(0, 0, prefill), x.narrow(0, 0, prefill), weight,
                  bias, kPrefillTile);
  TiledLinearInto(out.narrow(0, prefill, rows - prefill),
                  x.narrow(0, prefill, rows - prefill), weight, bias,
                  kDecodeTile);
  return out;
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const bool is_double = x.scalar_type() == at::kDouble;
  const at::Tensor wide = is_double ? x : x.to(at::kFloat);
  const at::Tensor mean_square = at::mean(wide * wide, {-1}, true);
  return weight * (wide * at::rsqrt(mean_square + eps)).to(x.scalar_type());
}

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(1) / 2;
  if (!gate_up.is_cpu()) {
    return at::silu(gate_up.narrow(1, 0, width)) *
           gate_up.narrow(1, width, width);
  }
  at::Tensor out = at::empty({gate_up.size(0), width}, gate_up.options());
  switch (gate_up.scalar_type()) {
    case at::kFloat:
      SwiGluRows<float>(gate_up, out);
      break;
    case at::kDouble:
      SwiGluRows<double>(gate_up, out);
      break;
    default:
      SwiGluRowsBfloat16(gate_up, out);
  }
  return out;
}

void ApplyRotary(at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(2) / 2;
  at::Tensor low = x.narrow(2, 0, half);
  at::Tensor high = x.narrow(2, half, half);
  const at::Tensor c = cos.unsqueeze(1);
  const at::Tensor s = sin.unsqueeze(1);
  const at::Tensor rotated_low = low * c - high * s;
  const at::Tensor rotated_high = high * c + low * s;
  low.copy_(rotated_low);
  high.copy_(rotated_high);
}

at::Tensor RowLogSumExp(const at::Tensor& logits) {
  const bool is_double = logits.scalar_type() == at::kDouble;
  return at::logsumexp(is_double ? logits : logits.to(at::kFloat), {1});
}

}  // namespace dissonance
