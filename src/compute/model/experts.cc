#include "src/compute/model/experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace dissonance {
namespace {

struct Routes {
  at::Tensor experts;  // [rows, chosen], most probable first
  at::Tensor weights;  // [rows, chosen]
};

Routes Route(const ExpertsSpec& spec, const at::Tensor& router_logits) {
  const at::ScalarType dtype = router_logits.scalar_type();
  const at::Tensor probabilities = at::softmax(
      router_logits, -1, dtype == at::kDouble ? at::kDouble : at::kFloat);
  auto [weights, experts] = at::topk(probabilities, spec.chosen, -1);
  if (spec.normalize) {
    // One after another: torch's sum may take another order in another shape.
    at::Tensor sum = weights.select(1, 0);
    for (int64_t i = 1; i < spec.chosen; ++i) sum = sum + weights.select(1, i);
    weights = weights / sum.unsqueeze(1);
  }
  if (spec.round_weights) weights = weights.to(dtype);
  return {.experts = experts, .weights = weights};
}

// The rows that go through one expert, ascending, and as which choice.
struct Share {
  std::vector<int64_t> rows;
  std::vector<int64_t> choices;
  int64_t prefill = 0;  // of the rows
};

std::vector<Share> SharesOf(const at::Tensor& experts, int64_t expert_count,
                            int64_t prefill) {
  std::vector<Share> shares(static_cast<size_t>(expert_count));
  const at::Tensor on_host = experts.to(at::kCPU).contiguous();
  const int64_t* next = on_host.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < experts.size(0); ++row) {
    for (int64_t choice = 0; choice < experts.size(1); ++choice) {
      Share& share = shares[static_cast<size_t>(*next++)];
      share.rows.push_back(row);
      share.choices.push_back(choice);
      if (row < prefill) ++share.prefill;
    }
  }
  return shares;
}

}  // namespace

at::Tensor RunExperts(const DecoderSpec& spec, const BlockWeights& weights,
                      const at::Tensor& x, RowKinds kinds) {
  const Routes routes =
      Route(spec.experts,
            RowLinear(x, weights.router.weight, weights.router.bias, kinds));
  const std::vector<Share> shares =
      SharesOf(routes.experts, spec.experts.count, kinds.prefill);
  at::Tensor out = at::zeros_like(x);
  for (size_t e = 0; e < shares.size(); ++e) {
    const Share& share = shares[e];
    if (share.rows.empty()) continue;
    const ExpertWeights& expert = weights.experts[e];
    const RowKinds own = {.prefill = share.prefill, .tiled = kinds.tiled};
    const at::Tensor rows = at::tensor(share.rows, at::kLong).to(x.device());
    const at::Tensor choices =
        at::tensor(share.choices, at::kLong).to(x.device());
    const at::Tensor hidden = GatedActivation(
        RowLinear(x.index_select(0, rows), expert.gate_up.weight,
                  expert.gate_up.bias, own),
        spec.activation);
    const at::Tensor result =
        RowLinear(hidden, expert.down.weight, expert.down.bias, own);
    const at::Tensor weight = routes.weights.index_select(0, rows).gather(
        1, choices.unsqueeze(1));  // [share, 1]
    out.index_add_(0, rows, (result * weight).to(x.scalar_type()));
  }
  return out;
}

}  // namespace dissonance
