#include "src/compute/probe/principal_components.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/stack.h>

#include <algorithm>

namespace dissonance {
namespace {

// Shares of the largest variance below which one is rounding.
constexpr double kNoVariance = 1e-12;

}  // namespace

PrincipalComponents FindPrincipalComponents(const at::Tensor& rows,
                                            int64_t count) {
  PrincipalComponents found;
  at::Tensor centered = rows.to(at::kDouble);
  found.mean = centered.mean(at::IntArrayRef{0});
  centered = centered - found.mean;
  const bool by_rows = centered.size(0) < centered.size(1);
  const at::Tensor gram =
      by_rows ? centered.mm(centered.t()) : centered.t().mm(centered);
  const auto [values, vectors] = at::linalg_eigh(gram);  // ascending
  const double degrees = static_cast<double>(rows.size(0) - 1);
  const double total = gram.trace().item<double>() / degrees;
  const at::Tensor on_host = values.to(at::kCPU);
  std::vector<at::Tensor> components;
  const int64_t rank = values.size(0);
  const double largest = std::max(on_host[rank - 1].item<double>(), 0.0);
  for (int64_t i = rank - 1; i >= std::max<int64_t>(rank - count, 0); --i) {
    const double value = on_host[i].item<double>();
    if (value <= kNoVariance * largest) break;
    at::Tensor own = vectors.select(1, i);
    if (by_rows) own = centered.t().mv(own);
    own = own / own.norm();
    const int64_t at = own.abs().argmax().item<int64_t>();
    if (own[at].item<double>() < 0.0) own = -own;
    components.push_back(own);
    found.variances.push_back(value / degrees);
    found.variance_shares.push_back(value / degrees / total);
  }
  const at::Tensor stacked =
      components.empty() ? centered.slice(0, 0, 0) : at::stack(components);
  found.projections = centered.mm(stacked.t()).to(at::kCPU);
  found.components = stacked.to(at::kCPU);
  found.mean = found.mean.to(at::kCPU);
  return found;
}

}  // namespace dissonance
