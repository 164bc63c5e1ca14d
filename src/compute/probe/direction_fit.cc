#include "src/compute/probe/direction_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

at::Tensor Exact(const at::Tensor& rows) {
  return rows.to(at::kCPU).to(at::kDouble);
}

double MeanLength(const at::Tensor& rows) {
  return rows.norm(2, at::IntArrayRef{1}).mean().item<double>();
}

at::Tensor Select(const at::Tensor& rows, const std::vector<int64_t>& which) {
  return rows.index_select(0, at::tensor(which, at::kLong));
}

// Rows of each class.
struct ClassRows {
  std::vector<int64_t> zeros;
  std::vector<int64_t> ones;
};

ClassRows RowsByClass(const std::vector<int32_t>& classes) {
  ClassRows rows;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] == 0) rows.zeros.push_back(static_cast<int64_t>(i));
    if (classes[i] == 1) rows.ones.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

absl::StatusOr<FittedDirection> UnitOf(const at::Tensor& vector,
                                       double residual_norm) {
  const double norm = vector.norm().item<double>();
  if (!(norm > 0.0)) {
    return absl::InvalidArgumentError(
        "the two sides are equal here, so there is no direction between them");
  }
  return FittedDirection{
      .unit = vector / norm, .norm = norm, .residual_norm = residual_norm};
}

// Differences of the means of class 1 and class 0 within each group.
absl::StatusOr<at::Tensor> PairDifferences(
    const at::Tensor& rows, const std::vector<int32_t>& classes,
    const std::vector<std::string>& groups) {
  std::map<std::string, ClassRows> pairs;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (groups[i].empty()) continue;
    if (classes[i] == 0)
      pairs[groups[i]].zeros.push_back(static_cast<int64_t>(i));
    if (classes[i] == 1)
      pairs[groups[i]].ones.push_back(static_cast<int64_t>(i));
  }
  std::vector<at::Tensor> differences;
  for (const auto& [name, pair] : pairs) {
    if (pair.zeros.empty() || pair.ones.empty()) continue;
    differences.push_back(Select(rows, pair.ones).mean(at::IntArrayRef{0}) -
                          Select(rows, pair.zeros).mean(at::IntArrayRef{0}));
  }
  if (differences.size() < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "found ", differences.size(),
        " group(s) with inputs of both classes; contrast pairs need two. Give "
        "both members of a pair the same group"));
  }
  return at::stack(differences);
}

}  // namespace

absl::StatusOr<FittedDirection> MeanDifference(
    const at::Tensor& rows, const std::vector<int32_t>& classes) {
  const at::Tensor exact = Exact(rows);
  const ClassRows own = RowsByClass(classes);
  if (own.zeros.empty() || own.ones.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("found ", own.ones.size(), " input(s) of class 1 and ",
                     own.zeros.size(), " of class 0; both are needed"));
  }
  const at::Tensor ones = Select(exact, own.ones);
  const at::Tensor zeros = Select(exact, own.zeros);
  std::vector<int64_t> used = own.ones;
  used.insert(used.end(), own.zeros.begin(), own.zeros.end());
  return UnitOf(ones.mean(at::IntArrayRef{0}) - zeros.mean(at::IntArrayRef{0}),
                MeanLength(Select(exact, used)));
}

absl::StatusOr<FittedDirection> ContrastPca(
    const at::Tensor& rows, const std::vector<int32_t>& classes,
    const std::vector<std::string>& groups) {
  const at::Tensor exact = Exact(rows);
  const absl::StatusOr<at::Tensor> differences =
      PairDifferences(exact, classes, groups);
  if (!differences.ok()) return differences.status();
  const bool by_pairs = differences->size(0) < differences->size(1);
  const auto [values, vectors] =
      at::linalg_eigh(by_pairs ? differences->mm(differences->t())
                               : differences->t().mm(*differences));
  at::Tensor first = vectors.select(1, values.size(0) - 1);
  if (by_pairs) first = differences->t().mv(first);
  const ClassRows own = RowsByClass(classes);
  std::vector<int64_t> used = own.ones;
  used.insert(used.end(), own.zeros.begin(), own.zeros.end());
  absl::StatusOr<FittedDirection> direction =
      UnitOf(first, MeanLength(Select(exact, used)));
  if (!direction.ok()) return direction;
  const double along = differences->mv(direction->unit).mean().item<double>();
  if (along < 0.0) direction->unit = -direction->unit;
  direction->norm = std::abs(along);
  return direction;
}

absl::StatusOr<FittedDirection> VariantDifference(
    const at::Tensor& first, const at::Tensor& second,
    const std::vector<int32_t>& classes) {
  at::Tensor from = Exact(first);
  at::Tensor minus = Exact(second);
  if (!classes.empty()) {
    const ClassRows own = RowsByClass(classes);
    if (own.ones.empty()) {
      return absl::InvalidArgumentError(
          "found no input of class 1; the difference of variants is taken over "
          "those");
    }
    from = Select(from, own.ones);
    minus = Select(minus, own.ones);
  }
  return UnitOf(from.mean(at::IntArrayRef{0}) - minus.mean(at::IntArrayRef{0}),
                0.5 * (MeanLength(from) + MeanLength(minus)));
}

}  // namespace dissonance
