// Backward passes of the decoder's row-wise steps, a row at a time on the CPU
// in float32 and float64, by torch's operators elsewhere. A row's result
// depends on that row alone. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAIN_KERNELS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAIN_KERNELS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissonance {

// Of RmsNorm(x, weight, eps): the gradient of x [..., width] from that of the
// result.
at::Tensor RmsNormBackward(const at::Tensor& grad, const at::Tensor& x,
                           const at::Tensor& weight, double eps);

// Of GatedActivation(gate_up, kSilu): the gradient of gate_up [rows, 2 * width]
// from that of the result [rows, width].
at::Tensor SwiGluBackward(const at::Tensor& grad, const at::Tensor& gate_up);

// A row that has no target: no loss, no gradient.
inline constexpr int64_t kNoTarget = -1;

// Cross-entropy of logits [rows, vocab] against targets [rows] (int64), in
// float32 or float64, in place: logits become the gradient of the rows' sum
// times `weight`, softmax minus one-hot. Returns the sum, in nats; with
// `weight` 0 the logits are left in an unspecified state.
double CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets,
                           double weight);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAIN_KERNELS_H_
