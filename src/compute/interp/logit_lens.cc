#include "src/compute/interp/logit_lens.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

namespace dissonance {

at::Tensor LensLogits(const Model& model, const at::Tensor& rows,
                      bool reproducible) {
  const c10::InferenceMode inference;
  return model.decoder().Unembed(
      model.decoder().FinalNorm(rows),
      {.prefill = rows.size(0), .tiled = reproducible});
}

at::Tensor LogProbs(const at::Tensor& logits) {
  const c10::InferenceMode inference;
  const bool is_double = logits.scalar_type() == at::kDouble;
  return at::log_softmax(is_double ? logits : logits.to(at::kFloat), -1);
}

std::vector<LensReading> ReadLogits(const at::Tensor& logits,
                                    absl::Span<const int32_t> tokens,
                                    int64_t top_k) {
  const c10::InferenceMode inference;
  const at::Tensor logprobs = LogProbs(logits);
  std::vector<LensReading> readings(static_cast<size_t>(logits.size(0)));
  for (const int32_t token : tokens) {
    const at::Tensor own = logits.select(1, token);  // [rows]
    const at::Tensor rank = logits.gt(own.unsqueeze(1)).sum(1).to(at::kCPU);
    const at::Tensor logit = own.to(at::kCPU, at::kDouble);
    const at::Tensor logprob =
        logprobs.select(1, token).to(at::kCPU, at::kDouble);
    for (size_t row = 0; row < readings.size(); ++row) {
      const auto at = static_cast<int64_t>(row);
      readings[row].tokens.push_back({.logit = logit[at].item<double>(),
                                      .logprob = logprob[at].item<double>(),
                                      .rank = rank[at].item<int64_t>()});
    }
  }
  const int64_t k = std::min(top_k, logits.size(1));
  if (k == 0) return readings;
  const auto [values, ids] = at::topk(logprobs, k, /*dim=*/-1);
  const at::Tensor value = values.to(at::kCPU, at::kDouble);
  const at::Tensor id = ids.to(at::kCPU);
  for (size_t row = 0; row < readings.size(); ++row) {
    const auto at = static_cast<int64_t>(row);
    for (int64_t i = 0; i < k; ++i) {
      readings[row].top.emplace_back(
          static_cast<int32_t>(id[at][i].item<int64_t>()),
          value[at][i].item<double>());
    }
  }
  return readings;
}

std::vector<double> KlDivergence(const at::Tensor& log_p,
                                 const at::Tensor& log_q) {
  const c10::InferenceMode inference;
  const at::Tensor p = log_p.to(at::kDouble);
  const at::Tensor difference = p - log_q.to(at::kDouble);
  const at::Tensor probability = at::exp(p);
  // What never happens counts nothing.
  const at::Tensor terms = at::where(probability > 0, probability * difference,
                                     at::zeros_like(difference));
  const at::Tensor sums = terms.sum(-1).to(at::kCPU).contiguous();
  const double* data = sums.const_data_ptr<double>();
  return {data, data + sums.numel()};
}

}  // namespace dissonance
