// Inverted dropout (Srivastava et al. 2014) whose masks are not drawn one after
// another but follow from keys: whether a number stays depends on its row's
// key, the module and its column alone, whatever else is in the batch and
// however many threads there are. So a backward pass asks for the same masks
// again instead of keeping them. Stateless, thread safe.
//
//   at::Tensor dropped = DropoutRows(x, row_keys, module.number, 0.05);
//   at::Tensor grad_x = DropoutRows(grad, row_keys, module.number, 0.05);
#ifndef DISSONANCE_COMPUTE_TRAIN_DROPOUT_MASK_H_
#define DISSONANCE_COMPUTE_TRAIN_DROPOUT_MASK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/types/span.h"

namespace dissonance {

// x [rows, width] of floating point: each number becomes 0 with probability
// `rate`, or else is multiplied by 1 / (1 - rate). Keys [rows] have to be
// spread over 64 bits already (src/base/mix.h); `module` is any number. The
// masks are the same for every type and device. Returns a new tensor, also at
// rate 0. REQUIRES: 0 <= rate < 1. Throws what torch throws.
at::Tensor DropoutRows(const at::Tensor& x, absl::Span<const uint64_t> keys,
                       uint64_t module, double rate);

// The same by torch's operators, as it is computed elsewhere than on the CPU.
at::Tensor DropoutRowsByOperators(const at::Tensor& x,
                                  absl::Span<const uint64_t> keys,
                                  uint64_t module, double rate);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_DROPOUT_MASK_H_
