#include "src/compute/probe/principal_components.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <optional>

#include "src/base/mix.h"
#include "src/compute/probe/thin_product.h"

namespace dissonance {
namespace {

// Shares of the largest variance below which one is rounding.
constexpr double kNoVariance = 1e-12;
// Up to here all eigenvectors are found, which takes milliseconds.
constexpr int64_t kDirectLimit = 256;
// Vectors beside those asked for, which make the iteration converge sooner.
constexpr int64_t kSpareVectors = 8;
constexpr int kMostIterations = 300;
// Of an eigenvector's residual, relative to the largest eigenvalue.
constexpr double kResidual = 1e-9;

// Largest eigenvalues of rows^T rows, descending, and their vectors.
struct Leading {
  at::Tensor values;   // [count]
  at::Tensor vectors;  // [count, width]
};

Leading AllLeading(const at::Tensor& rows, int64_t count) {
  const bool by_rows = rows.size(0) < rows.size(1);
  const auto [values, vectors] = at::linalg_eigh(
      by_rows ? rows.mm(rows.t()) : rows.t().mm(rows));  // ascending
  const int64_t from = std::max<int64_t>(values.size(0) - count, 0);
  at::Tensor own = vectors.slice(1, from).t().flip(0);
  if (by_rows) own = own.mm(rows);
  return {.values = values.slice(0, from).flip(0), .vectors = own};
}

at::Tensor Orthonormal(const at::Tensor& vectors) {
  return std::get<0>(at::linalg_qr(vectors.t())).t().contiguous();
}

// Subspace iteration (Rutishauser 1970); nullopt if it did not converge.
std::optional<Leading> IteratedLeading(const at::Tensor& rows, int64_t count) {
  const at::Tensor transposed = rows.t().contiguous();
  const int64_t width = rows.size(1);
  at::Tensor start = at::empty({count + kSpareVectors, width}, at::kDouble);
  auto* value = start.mutable_data_ptr<double>();
  for (int64_t i = 0; i < start.numel(); ++i) {
    value[i] =
        static_cast<double>(Mix(static_cast<uint64_t>(i)) >> 11) * 0x1p-53 -
        0.5;
  }
  at::Tensor vectors = Orthonormal(start.to(rows.device()));
  for (int i = 0; i < kMostIterations; ++i) {
    const at::Tensor images =
        ThinProduct(ThinProduct(vectors, rows), transposed);  // of rows^T rows
    const auto [values, turns] = at::linalg_eigh(vectors.mm(images.t()));
    const at::Tensor turn = turns.t().flip(0);  // descending
    const at::Tensor own = turn.slice(0, 0, count).mm(vectors);
    const at::Tensor sizes = values.flip(0).slice(0, 0, count);
    const at::Tensor left =
        turn.slice(0, 0, count).mm(images) - own * sizes.unsqueeze(1);
    if (left.abs().max().item<double>() <=
        kResidual * sizes[0].item<double>()) {
      return Leading{.values = sizes, .vectors = own};
    }
    vectors = Orthonormal(images);
  }
  return std::nullopt;
}

Leading LeadingOf(const at::Tensor& rows, int64_t count) {
  const int64_t rank = std::min(rows.size(0), rows.size(1));
  if (rank > kDirectLimit) {
    if (std::optional<Leading> found = IteratedLeading(rows, count)) {
      return *std::move(found);
    }
  }
  return AllLeading(rows, count);
}

}  // namespace

PrincipalComponents FindPrincipalComponents(const at::Tensor& rows,
                                            int64_t count) {
  PrincipalComponents found;
  at::Tensor centered = rows.to(at::kDouble);
  found.mean = centered.mean(at::IntArrayRef{0});
  centered = centered - found.mean;
  const double degrees = static_cast<double>(rows.size(0) - 1);
  const double total = centered.square().sum().item<double>() / degrees;
  const Leading leading = LeadingOf(centered, count);
  const at::Tensor values = leading.values.to(at::kCPU);
  std::vector<at::Tensor> components;
  for (int64_t i = 0; i < values.size(0); ++i) {
    const double value = values[i].item<double>();
    if (value <= kNoVariance * values[0].item<double>()) break;
    at::Tensor own = leading.vectors[i];
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
