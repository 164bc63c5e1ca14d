#include "src/compute/train/train_experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <cstdint>
#include <tuple>

#include "src/compute/train/train_ops.h"

namespace dissonance {

at::Tensor TrainExperts(const DecoderSpec& spec, const BlockWeights& weights,
                        const at::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  const at::Tensor probabilities =
      at::softmax(at::linear(x, weights.router.weight, weights.router.bias), -1,
                  dtype == at::kDouble ? at::kDouble : at::kFloat);
  auto [shares, experts] = at::topk(probabilities, spec.experts.chosen, -1);
  if (spec.experts.normalize) shares = shares / shares.sum(-1, true);
  if (spec.experts.round_weights) shares = shares.to(dtype);
  at::Tensor out = at::zeros_like(x);
  for (int64_t e = 0; e < spec.experts.count; ++e) {
    const at::Tensor places = (experts == e).nonzero();  // [share, 2]
    if (places.size(0) == 0) continue;
    const at::Tensor rows = places.select(1, 0).contiguous();
    const at::Tensor choices = places.narrow(1, 1, 1);
    const ExpertWeights& expert = weights.experts[static_cast<size_t>(e)];
    const at::Tensor hidden = TrainActivation(
        spec, at::linear(x.index_select(0, rows), expert.gate_up.weight,
                         expert.gate_up.bias));
    const at::Tensor result =
        at::linear(hidden, expert.down.weight, expert.down.bias);
    const at::Tensor share = shares.index_select(0, rows).gather(1, choices);
    out = out.index_add(0, rows, (result * share).to(dtype));
  }
  return out;
}

}  // namespace dissonance
