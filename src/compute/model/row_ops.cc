#include "src/compute/model/row_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/functional/function_ref.h"
#include "src/compute/model/product_heights.h"
#include "src/compute/model/row_product.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

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

// Up to here products of few rows are faster than a library's, whose rows need
// not be reproducible.
constexpr int64_t kFewRows = 16;

at::Tensor FilledUp(const at::Tensor& x, int64_t height) {
  at::Tensor filled = at::zeros({height, x.size(1)}, x.options());
  filled.narrow(0, 0, x.size(0)).copy_(x);
  return filled;
}

// Products whose rows have the bits of products of `reference` rows.
void TiledLinearInto(const at::Tensor& out, const at::Tensor& x,
                     const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, int64_t reference) {
  const int64_t rows = x.size(0);
  for (int64_t row = 0; row < rows;) {
    const int64_t left = rows - row;
    const int64_t height =
        NextHeight(weight, bias.has_value(), reference, left);
    const at::Tensor own = x.narrow(0, row, std::min(height, left));
    const at::Tensor place = out.narrow(0, row, std::min(height, left));
    if (height <= left) {
      LinearInto(place, own, weight, bias);
    } else {
      at::Tensor result = at::empty({height, weight.size(0)}, x.options());
      LinearInto(result, FilledUp(own, height), weight, bias);
      place.copy_(result.narrow(0, 0, left));
    }
    row += height;
  }
}

// On a device that reads the weights once for a whole tile, few rows cost what
// a tile does, so prompts and generation steps share one height.
at::Tensor DeviceLinear(const at::Tensor& x, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias) {
  const int64_t rows = x.size(0);
  const int64_t height =
      NextHeight(weight, bias.has_value(), kPrefillTile, rows);
  at::Tensor out =
      at::empty({std::max(rows, height), weight.size(0)}, x.options());
  if (height > rows) {
    LinearInto(out, FilledUp(x, height), weight, bias);
    return out.narrow(0, 0, rows);
  }
  TiledLinearInto(out, x, weight, bias, kPrefillTile);
  return out;
}

DISSONANCE_VECTOR_KERNEL void SwiGluRow(const float* gate, const float* up,
                                        float* out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    out[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
  }
}

DISSONANCE_VECTOR_KERNEL void SwiGluRow(const double* gate, const double* up,
                                        double* out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    out[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
  }
}

template <typename T>
void SwiGluRows(const at::Tensor& gate_up, at::Tensor& out) {
  const int64_t width = out.size(1);
  const T* in = gate_up.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  ParallelFor(0, out.size(0), 8, [&](int64_t begin, int64_t end) {
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
  ParallelFor(0, out.size(0), 8, [&](int64_t begin, int64_t end) {
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

// Torch computes this many elements on one thread.
constexpr int64_t kPieceColumns = 16384;

// Calls compute(from, into) for pieces of rows. Torch's elementwise functions
// treat the last elements of each thread's share unlike the rest; in pieces of
// one row an element's value depends on its column only.
void ForEachPiece(
    const at::Tensor& x, const at::Tensor& out,
    absl::FunctionRef<void(const at::Tensor&, at::Tensor&)> compute) {
  if (!x.is_cpu()) {
    at::Tensor into = out;
    compute(x, into);
    return;
  }
  const int64_t width = x.size(1);
  ParallelFor(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;  // does not reach threads by itself
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t column = 0; column < width; column += kPieceColumns) {
        const int64_t count = std::min(kPieceColumns, width - column);
        at::Tensor into = out.select(0, row).narrow(0, column, count);
        compute(x.select(0, row).narrow(0, column, count), into);
      }
    }
  });
}

constexpr int64_t kLanes = 16;

// One row of RmsNorm; sums in lanes, which the compiler keeps in registers.
template <typename T, typename Weight, typename Wide>
__attribute__((always_inline)) inline void RmsNormRow(const T* x,
                                                      const Weight* weight,
                                                      T* out, int64_t width,
                                                      double eps) {
  std::array<Wide, kLanes> lanes = {};
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<Wide>(x[i + lane]);
      lanes[static_cast<size_t>(lane)] += value * value;
    }
  }
  Wide sum = 0;
  for (int64_t i = whole; i < width; ++i) {
    sum += static_cast<Wide>(x[i]) * static_cast<Wide>(x[i]);
  }
  for (const Wide lane : lanes) sum += lane;
  const Wide mean_square = sum / static_cast<Wide>(width);
  const Wide scale = 1 / std::sqrt(mean_square + static_cast<Wide>(eps));
  for (int64_t i = 0; i < width; ++i) {
    // Rounded to the weight's type, which is T or Wide.
    const auto normed = static_cast<Weight>(static_cast<Wide>(x[i]) * scale);
    out[i] = static_cast<T>(static_cast<Wide>(weight[i]) *
                            static_cast<Wide>(normed));
  }
}

DISSONANCE_VECTOR_KERNEL void RmsNormRowOf(const float* x, const float* weight,
                                           float* out, int64_t width,
                                           double eps) {
  RmsNormRow<float, float, float>(x, weight, out, width, eps);
}

DISSONANCE_VECTOR_KERNEL void RmsNormRowOf(const double* x,
                                           const double* weight, double* out,
                                           int64_t width, double eps) {
  RmsNormRow<double, double, double>(x, weight, out, width, eps);
}

DISSONANCE_VECTOR_KERNEL void RmsNormRowOf(const c10::BFloat16* x,
                                           const c10::BFloat16* weight,
                                           c10::BFloat16* out, int64_t width,
                                           double eps) {
  RmsNormRow<c10::BFloat16, c10::BFloat16, float>(x, weight, out, width, eps);
}

DISSONANCE_VECTOR_KERNEL void RmsNormRowOf(const c10::BFloat16* x,
                                           const float* weight,
                                           c10::BFloat16* out, int64_t width,
                                           double eps) {
  RmsNormRow<c10::BFloat16, float, float>(x, weight, out, width, eps);
}

template <typename T, typename Weight>
at::Tensor RmsNormRows(const at::Tensor& x, const at::Tensor& weight,
                       double eps) {
  const int64_t width = x.size(-1);
  at::Tensor out = at::empty_like(x);
  const T* in = x.const_data_ptr<T>();
  const auto* scale = weight.const_data_ptr<Weight>();
  T* result = out.mutable_data_ptr<T>();
  ParallelFor(0, x.numel() / width, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      RmsNormRowOf(in + row * width, scale, result + row * width, width, eps);
    }
  });
  return out;
}

template <typename T>
__attribute__((always_inline)) inline T DotRow(const T* x, const T* y,
                                               int64_t width) {
  std::array<T, kLanes> lanes = {};
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[static_cast<size_t>(lane)] += x[i + lane] * y[i + lane];
    }
  }
  T sum = 0;
  for (int64_t i = whole; i < width; ++i) sum += x[i] * y[i];
  for (const T lane : lanes) sum += lane;
  return sum;
}

DISSONANCE_VECTOR_KERNEL float DotRowOf(const float* x, const float* y,
                                        int64_t width) {
  return DotRow(x, y, width);
}

DISSONANCE_VECTOR_KERNEL double DotRowOf(const double* x, const double* y,
                                         int64_t width) {
  return DotRow(x, y, width);
}

template <typename T>
void RowDotsInto(const at::Tensor& x, const at::Tensor& y, at::Tensor& out) {
  const int64_t width = x.size(-1);
  const T* left = x.const_data_ptr<T>();
  const T* right = y.const_data_ptr<T>();
  T* dots = out.mutable_data_ptr<T>();
  for (int64_t row = 0; row < out.numel(); ++row) {
    dots[row] = DotRowOf(left + row * width, right + row * width, width);
  }
}

// T rounds after each operation, as torch's own functions would.
template <typename T>
__attribute__((always_inline)) inline void Rotate(T* low, T* high, const T* cos,
                                                  const T* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const T first = low[i];
    low[i] = first * cos[i] - high[i] * sin[i];
    high[i] = high[i] * cos[i] + first * sin[i];
  }
}

DISSONANCE_VECTOR_KERNEL void RotateHead(float* low, float* high,
                                         const float* cos, const float* sin,
                                         int64_t half) {
  Rotate(low, high, cos, sin, half);
}

DISSONANCE_VECTOR_KERNEL void RotateHead(c10::BFloat16* low,
                                         c10::BFloat16* high,
                                         const c10::BFloat16* cos,
                                         const c10::BFloat16* sin,
                                         int64_t half) {
  Rotate(low, high, cos, sin, half);
}

template <typename T>
void RotateRows(at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t heads = x.size(1);
  const int64_t half = cos.size(1);
  const int64_t stride = x.stride(0);
  const int64_t head_stride = x.stride(1);
  T* data = x.mutable_data_ptr<T>();
  const T* cosines = cos.const_data_ptr<T>();
  const T* sines = sin.const_data_ptr<T>();
  ParallelFor(0, x.size(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < heads; ++head) {
        T* low = data + row * stride + head * head_stride;
        RotateHead(low, low + half, cosines + row * half, sines + row * half,
                   half);
      }
    }
  });
}

bool CanRotateRows(const at::Tensor& x, const at::Tensor& cos,
                   const at::Tensor& sin) {
  const at::ScalarType type = x.scalar_type();
  return x.is_cpu() && (type == at::kFloat || type == at::kBFloat16) &&
         cos.scalar_type() == type && x.stride(2) == 1 && cos.is_contiguous() &&
         sin.is_contiguous();
}

}  // namespace

at::Tensor RowLinear(const at::Tensor& x, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, RowKinds kinds) {
  const int64_t rows = x.size(0);
  const bool has_row_product = HasRowProduct(weight);
  if (!kinds.tiled && (rows > kFewRows || !has_row_product)) {
    return at::linear(x, weight, bias);
  }
  if (!x.is_cpu()) return DeviceLinear(x, weight, bias);
  int64_t prefill = kinds.tiled ? std::min(kinds.prefill, rows) : 0;
  // Where both kinds of rows get the same bits they are one kind.
  if (!has_row_product && prefill > 0 &&
      SameRowBits(weight, bias.has_value(), kPrefillTile, kDecodeTile)) {
    prefill = rows;
  }
  at::Tensor out = at::empty({rows, weight.size(0)}, x.options());
  TiledLinearInto(out.narrow(0, 0, prefill), x.narrow(0, 0, prefill), weight,
                  bias, kPrefillTile);
  const at::Tensor decoded = out.narrow(0, prefill, rows - prefill);
  const at::Tensor left = x.narrow(0, prefill, rows - prefill);
  if (has_row_product) {
    RowProductInto(decoded, left, weight, bias);
  } else {
    TiledLinearInto(decoded, left, weight, bias, kDecodeTile);
  }
  return out;
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (x.is_cpu()) {
    const at::Tensor rows = x.contiguous();
    switch (x.scalar_type()) {
      case at::kFloat:
        return RmsNormRows<float, float>(rows, weight, eps);
      case at::kDouble:
        return RmsNormRows<double, double>(rows, weight, eps);
      default:
        return weight.scalar_type() == at::kFloat
                   ? RmsNormRows<c10::BFloat16, float>(rows, weight, eps)
                   : RmsNormRows<c10::BFloat16, c10::BFloat16>(rows, weight,
                                                               eps);
    }
  }
  if (weight.scalar_type() == x.scalar_type()) {
    return weight *
           std::get<0>(at::_fused_rms_norm(x, {x.size(-1)}, std::nullopt, eps));
  }
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor mean_square = at::mean(wide * wide, {-1}, true);
  const at::Tensor normed =
      (wide * at::rsqrt(mean_square + eps)).to(weight.scalar_type());
  return (weight * normed).to(x.scalar_type());
}

at::Tensor GatedActivation(const at::Tensor& gate_up, Activation activation) {
  const int64_t width = gate_up.size(1) / 2;
  if (!gate_up.is_cpu() || activation != Activation::kSilu) {
    at::Tensor out = Activate(gate_up.narrow(1, 0, width), activation);
    out.mul_(gate_up.narrow(1, width, width));
    return out;
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

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  ForEachPiece(x, out, [activation](const at::Tensor& from, at::Tensor& into) {
    switch (activation) {
      case Activation::kSilu:
        at::silu_out(into, from);
        break;
      case Activation::kGelu:
        at::gelu_out(into, from, "none");
        break;
      case Activation::kGeluTanh:
        at::gelu_out(into, from, "tanh");
        break;
    }
  });
  return out;
}

void SoftcapRows(at::Tensor& x, double cap) {
  x.div_(cap);
  ForEachPiece(x, x, [](const at::Tensor& from, at::Tensor& into) {
    at::tanh_out(into, from);
  });
  x.mul_(cap);
}

at::Tensor RowDots(const at::Tensor& x, const at::Tensor& y) {
  const bool is_double = x.scalar_type() == at::kDouble;
  const at::ScalarType wide = is_double ? at::kDouble : at::kFloat;
  const at::Tensor left = x.to(wide).contiguous();
  const at::Tensor right = y.to(wide).contiguous();
  if (!x.is_cpu()) return (left * right).sum(-1, /*keepdim=*/true);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = 1;
  at::Tensor out = at::empty(shape, left.options());
  if (is_double) {
    RowDotsInto<double>(left, right, out);
  } else {
    RowDotsInto<float>(left, right, out);
  }
  return out;
}

void ApplyRotary(at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (CanRotateRows(x, cos, sin)) {
    if (x.scalar_type() == at::kFloat) {
      RotateRows<float>(x, cos, sin);
    } else {
      RotateRows<c10::BFloat16>(x, cos, sin);
    }
    return;
  }
  const int64_t half = cos.size(1);
  at::Tensor low = x.narrow(2, 0, half);
  at::Tensor high = x.narrow(2, half, half);
  // Both halves at once; each product is rounded, as transformers does.
  const at::Tensor halves = x.narrow(2, 0, 2 * half).unflatten(2, {2, half});
  const at::Tensor straight = halves * cos.view({-1, 1, 1, half});
  const at::Tensor crossed = halves * sin.view({-1, 1, 1, half});
  at::sub_out(low, straight.select(2, 0), crossed.select(2, 1));
  at::add_out(high, straight.select(2, 1), crossed.select(2, 0));
}

}  // namespace dissonance
