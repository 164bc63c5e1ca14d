// The mixture of experts that takes an MLP's place in some blocks. A row's
// experts, and their order, follow from the row alone. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_EXPERTS_H_
#define DISSONANCE_COMPUTE_MODEL_EXPERTS_H_

#include <ATen/core/Tensor.h>

#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/row_ops.h"
#include "src/compute/model/weights.h"

namespace dissonance {

// x [rows, d_model] through each row's chosen experts. Returns [rows, d_model].
at::Tensor RunExperts(const DecoderSpec& spec, const BlockWeights& weights,
                      const at::Tensor& x, RowKinds kinds);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_EXPERTS_H_
