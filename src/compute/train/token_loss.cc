#include "src/compute/train/token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tanh.h>

#include <algorithm>

#include "src/compute/train/train_kernels.h"
#include "src/compute/train/train_product.h"

namespace dissonance {

TokenLoss ComputeTokenLoss(const Model& model, const at::Tensor& hidden,
                           const at::Tensor& targets, double weight) {
  const at::Tensor& unembed = model.weights().unembed;
  const double cap = model.spec().final_softcap;
  const at::ScalarType dtype = hidden.scalar_type();
  const at::ScalarType wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t row_bytes =
      unembed.size(0) * static_cast<int64_t>(c10::elementSize(wide));
  const int64_t chunk = std::max<int64_t>(kLossChunkBytes / row_bytes, 1);
  TokenLoss loss;
  if (weight != 0) loss.grad = at::empty(hidden.sizes(), hidden.options());
  for (int64_t row = 0; row < hidden.size(0); row += chunk) {
    const int64_t count = std::min(chunk, hidden.size(0) - row);
    at::Tensor logits = LinearProduct({.weight = unembed, .bias = {}},
                                      hidden.narrow(0, row, count))
                            .to(wide);
    at::Tensor bent;  // tanh of the capped logits
    if (cap > 0) {
      bent = at::tanh(logits / cap);
      logits = bent * cap;
    }
    loss.sum +=
        CrossEntropyInPlace(logits, targets.narrow(0, row, count), weight);
    if (weight == 0) continue;
    if (cap > 0) logits.mul_(at::ones_like(bent) - bent * bent);
    loss.grad.narrow(0, row, count).copy_(Product(logits.to(dtype), unembed));
  }
  return loss;
}

}  // namespace dissonance
