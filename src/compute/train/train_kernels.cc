#include "src/compute/train/train_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/vector_kernel.h"

namespace dissonance {
namespace {

// glibc's vector versions of exp; see row_ops.cc.
extern "C" {
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((simd("notinbranch"), const)) float expf(float x) noexcept;
__attribute__((simd("notinbranch"), const)) double exp(double x) noexcept;
#endif
}

inline float Exp(float x) { return expf(x); }
inline double Exp(double x) { return exp(x); }

constexpr int64_t kLanes = 16;

bool HasRowKernel(const at::Tensor& x) {
  return x.is_cpu() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

at::ScalarType Wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Sum over a row of term(i), in lanes that the compiler keeps in registers.
template <typename T, typename Term>
__attribute__((always_inline)) inline T LaneSum(int64_t width, Term term) {
  std::array<T, kLanes> lanes = {};
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[static_cast<size_t>(lane)] += term(i + lane);
    }
  }
  T sum = 0;
  for (int64_t i = whole; i < width; ++i) sum += term(i);
  for (const T lane : lanes) sum += lane;
  return sum;
}

template <typename T>
__attribute__((always_inline)) inline void RmsBackwardRow(const T* grad,
                                                          const T* x,
                                                          const T* weight,
                                                          T* out, int64_t width,
                                                          double eps) {
  const T squares = LaneSum<T>(width, [x](int64_t i) { return x[i] * x[i]; });
  const T along =
      LaneSum<T>(width, [=](int64_t i) { return grad[i] * weight[i] * x[i]; });
  const T count = static_cast<T>(width);
  const T scale = 1 / std::sqrt(squares / count + static_cast<T>(eps));
  const T pull = along / count * scale * scale;
  for (int64_t i = 0; i < width; ++i) {
    out[i] = scale * (grad[i] * weight[i] - x[i] * pull);
  }
}

DISSONANCE_VECTOR_KERNEL void RmsBackwardRowOf(const float* grad,
                                               const float* x,
                                               const float* weight, float* out,
                                               int64_t width, double eps) {
  RmsBackwardRow(grad, x, weight, out, width, eps);
}

DISSONANCE_VECTOR_KERNEL void RmsBackwardRowOf(const double* grad,
                                               const double* x,
                                               const double* weight,
                                               double* out, int64_t width,
                                               double eps) {
  RmsBackwardRow(grad, x, weight, out, width, eps);
}

template <typename T>
void RmsBackwardRows(const at::Tensor& grad, const at::Tensor& x,
                     const at::Tensor& weight, double eps, at::Tensor& out) {
  const int64_t width = x.size(-1);
  const T* grads = grad.const_data_ptr<T>();
  const T* in = x.const_data_ptr<T>();
  const T* scale = weight.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  ParallelFor(0, x.numel() / width, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * width;
      RmsBackwardRowOf(grads + at, in + at, scale, result + at, width, eps);
    }
  });
}

template <typename T>
__attribute__((always_inline)) inline void SwiGluBackwardRow(const T* grad,
                                                             const T* gate,
                                                             const T* up, T* to,
                                                             int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    const T sigmoid = 1 / (1 + Exp(-gate[i]));
    const T silu = gate[i] * sigmoid;
    to[i] = grad[i] * up[i] * (sigmoid + silu * (1 - sigmoid));
    to[width + i] = grad[i] * silu;
  }
}

DISSONANCE_VECTOR_KERNEL void SwiGluBackwardRowOf(const float* grad,
                                                  const float* gate,
                                                  const float* up, float* to,
                                                  int64_t width) {
  SwiGluBackwardRow(grad, gate, up, to, width);
}

DISSONANCE_VECTOR_KERNEL void SwiGluBackwardRowOf(const double* grad,
                                                  const double* gate,
                                                  const double* up, double* to,
                                                  int64_t width) {
  SwiGluBackwardRow(grad, gate, up, to, width);
}

template <typename T>
void SwiGluBackwardRows(const at::Tensor& grad, const at::Tensor& gate_up,
                        at::Tensor& out) {
  const int64_t width = grad.size(1);
  const T* grads = grad.const_data_ptr<T>();
  const T* in = gate_up.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  ParallelFor(0, grad.size(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* gate = in + row * 2 * width;
      SwiGluBackwardRowOf(grads + row * width, gate, gate + width,
                          result + row * 2 * width, width);
    }
  });
}

// Log of the sum of exponentials of a row that becomes its softmax.
template <typename T>
__attribute__((always_inline)) inline T SoftmaxRow(T* row, int64_t width) {
  T most = row[0];
  std::array<T, kLanes> lanes;
  lanes.fill(row[0]);
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      T& own = lanes[static_cast<size_t>(lane)];
      own = row[i + lane] > own ? row[i + lane] : own;
    }
  }
  for (int64_t i = whole; i < width; ++i) most = std::max(most, row[i]);
  for (const T lane : lanes) most = std::max(most, lane);
  for (int64_t i = 0; i < width; ++i) row[i] = Exp(row[i] - most);
  const T sum = LaneSum<T>(width, [row](int64_t i) { return row[i]; });
  const T scale = 1 / sum;
  for (int64_t i = 0; i < width; ++i) row[i] *= scale;
  return most + std::log(sum);
}

DISSONANCE_VECTOR_KERNEL float SoftmaxRowOf(float* row, int64_t width) {
  return SoftmaxRow(row, width);
}

DISSONANCE_VECTOR_KERNEL double SoftmaxRowOf(double* row, int64_t width) {
  return SoftmaxRow(row, width);
}

DISSONANCE_VECTOR_KERNEL void ScaleRow(float* row, float by, int64_t width) {
  for (int64_t i = 0; i < width; ++i) row[i] *= by;
}

DISSONANCE_VECTOR_KERNEL void ScaleRow(double* row, double by, int64_t width) {
  for (int64_t i = 0; i < width; ++i) row[i] *= by;
}

template <typename T>
double CrossEntropyRows(at::Tensor& logits, const at::Tensor& targets,
                        double weight) {
  const int64_t rows = logits.size(0);
  const int64_t width = logits.size(1);
  T* data = logits.mutable_data_ptr<T>();
  const int64_t* target = targets.const_data_ptr<int64_t>();
  std::vector<double> losses(static_cast<size_t>(rows));
  ParallelFor(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* row = data + i * width;
      if (target[i] == kNoTarget) {
        std::fill_n(row, width, T{0});
        continue;
      }
      const T wanted = row[target[i]];
      const T log_sum = SoftmaxRowOf(row, width);
      losses[static_cast<size_t>(i)] = static_cast<double>(log_sum) - wanted;
      if (weight == 0) continue;
      row[target[i]] -= 1;
      ScaleRow(row, static_cast<T>(weight), width);
    }
  });
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum;
}

}  // namespace

at::Tensor RmsNormBackward(const at::Tensor& grad, const at::Tensor& x,
                           const at::Tensor& weight, double eps) {
  if (HasRowKernel(x) && weight.scalar_type() == x.scalar_type()) {
    at::Tensor out = at::empty(x.sizes(), x.options());
    if (x.scalar_type() == at::kFloat) {
      RmsBackwardRows<float>(grad.contiguous(), x.contiguous(), weight, eps,
                             out);
    } else {
      RmsBackwardRows<double>(grad.contiguous(), x.contiguous(), weight, eps,
                              out);
    }
    return out;
  }
  const at::Tensor wide = x.to(Wide(x));
  const at::Tensor scale = at::rsqrt(at::mean(wide * wide, {-1}, true) + eps);
  const at::Tensor normed = wide * scale;
  const at::Tensor weighted = (grad * weight).to(wide.scalar_type());
  const at::Tensor along = at::mean(weighted * normed, {-1}, true);
  return (scale * (weighted - normed * along)).to(x.scalar_type());
}

at::Tensor SwiGluBackward(const at::Tensor& grad, const at::Tensor& gate_up) {
  if (HasRowKernel(gate_up)) {
    at::Tensor out = at::empty_like(gate_up);
    if (gate_up.scalar_type() == at::kFloat) {
      SwiGluBackwardRows<float>(grad.contiguous(), gate_up, out);
    } else {
      SwiGluBackwardRows<double>(grad.contiguous(), gate_up, out);
    }
    return out;
  }
  const int64_t width = grad.size(1);
  const at::ScalarType dtype = gate_up.scalar_type();
  const at::Tensor wide = gate_up.to(Wide(gate_up));
  const at::Tensor gate = wide.narrow(1, 0, width);
  const at::Tensor up = wide.narrow(1, width, width);
  const at::Tensor sigmoid = at::sigmoid(gate);
  const at::Tensor silu = gate * sigmoid;
  const at::Tensor from_gate = grad * up * (sigmoid + silu * (1 - sigmoid));
  return at::cat({from_gate, grad * silu}, 1).to(dtype);
}

double CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets,
                           double weight) {
  if (logits.is_cpu()) {
    return logits.scalar_type() == at::kDouble
               ? CrossEntropyRows<double>(logits, targets, weight)
               : CrossEntropyRows<float>(logits, targets, weight);
  }
  const at::Tensor logprobs = at::log_softmax(logits, -1);
  const at::Tensor places = targets.unsqueeze(1).clamp_min(0);
  const at::Tensor counts = (targets.unsqueeze(1) >= 0).to(logits.dtype());
  const double sum =
      -(logprobs.gather(1, places) * counts).sum(at::kDouble).item<double>();
  if (weight == 0) return sum;
  logits.copy_(logprobs.exp());
  logits.scatter_add_(1, places, -counts);
  logits.mul_(counts * weight);
  return sum;
}

}  // namespace dissonance
