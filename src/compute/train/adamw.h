// AdamW (Loshchilov & Hutter 2019) and the clipping of gradients, over flat
// buffers. Each number's result depends on that number alone and sums are of
// fixed parts in a fixed order, so no bit depends on how many threads there
// are. Not thread safe: nothing else may touch the buffers meanwhile.
//
//   const double norm = ClipGradNorm(gradient, 1.0);
//   AdamwStep({.learning_rate = rate}, step, gradient, lora.flat(), first,
//             second);
#ifndef DISSONANCE_COMPUTE_TRAIN_ADAMW_H_
#define DISSONANCE_COMPUTE_TRAIN_ADAMW_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissonance {

struct AdamwOptions {
  double learning_rate = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
};

// Step t, from 1, with bias correction, as torch.optim.AdamW does it:
//   p *= 1 - rate * weight_decay
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
// with the moments m and v zero at first.
// REQUIRES: all are contiguous, of one size, type (float32 or float64) and
// device. Throws what torch throws.
void AdamwStep(const AdamwOptions& options, int64_t t,
               const at::Tensor& gradient, const at::Tensor& parameters,
               const at::Tensor& first_moments,
               const at::Tensor& second_moments);

// The same by torch's operators, as it is computed elsewhere than on the CPU.
void AdamwStepByOperators(const AdamwOptions& options, int64_t t,
                          const at::Tensor& gradient,
                          const at::Tensor& parameters,
                          const at::Tensor& first_moments,
                          const at::Tensor& second_moments);

// The Euclidean norm of a contiguous gradient, summed in float64.
double GradNorm(const at::Tensor& gradient);

// GradNorm, after which the gradient is multiplied by
// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does. It
// stays as it is with max_norm 0, and if the norm is not finite.
double ClipGradNorm(const at::Tensor& gradient, double max_norm);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_ADAMW_H_
