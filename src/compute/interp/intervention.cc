#include "src/compute/interp/intervention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

using Op = Intervention::Op;

absl::Status CheckHead(const DecoderSpec& spec, const Intervention& own) {
  if (!own.head.has_value()) return absl::OkStatus();
  const int64_t heads = SiteHeads(spec, own.site);
  if (heads == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(SiteName(own.site),
                     " has no heads; the sites that do are q, k, v and z"));
  }
  if (*own.head < 0 || *own.head >= heads) {
    return absl::InvalidArgumentError(
        absl::StrCat("head ", *own.head, " does not exist; ",
                     SiteName(own.site), " has heads 0 to ", heads - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckVector(const DecoderSpec& spec, const Intervention& own) {
  const int64_t width = SiteWidth(spec, own.site);
  const bool is_matrix =
      own.vector.defined() && own.op == Op::kSet &&
      own.positions.kind == Positions::Kind::kIndices &&
      own.vector.dim() == 2 &&
      own.vector.size(0) == static_cast<int64_t>(own.positions.indices.size());
  if (!own.vector.defined() || (own.vector.dim() != 1 && !is_matrix) ||
      own.vector.size(-1) != width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the vector has shape [",
        own.vector.defined() ? absl::StrJoin(own.vector.sizes(), ", ") : "",
        "], ", SiteName(own.site), " of this model asks for [", width, "]"));
  }
  if (!at::isfinite(own.vector).all().item<bool>()) {
    return absl::InvalidArgumentError("the vector holds NaN or infinity");
  }
  return absl::OkStatus();
}

// The vector as the hooks use it; computed in float64 before.
absl::StatusOr<at::Tensor> MakeReady(const Model& model,
                                     const Intervention& own) {
  at::Tensor wide = own.vector.to(at::kCPU, at::kDouble);
  if (own.op == Op::kAdd) wide = wide * own.coefficient;
  at::TensorOptions options = model.weights().embed.options();
  if (own.op == Op::kProjectOut) {
    const double length = std::sqrt((wide * wide).sum().item<double>());
    if (!(length > 0)) {
      return absl::InvalidArgumentError("the direction has no length");
    }
    wide = wide / length;
    // bfloat16 would change the length by more than what is left behind.
    if (model.dtype() != at::kDouble) options = options.dtype(at::kFloat);
  }
  return wide.to(options).contiguous();
}

absl::Status Prepare(const Model& model, Intervention& own) {
  if (own.site == Site::kPattern || own.site == Site::kLogits) {
    return absl::InvalidArgumentError(
        absl::StrCat(SiteName(own.site), " can be captured, not changed"));
  }
  RETURN_IF_ERROR(CheckSite(model.spec(), own.site, own.block));
  RETURN_IF_ERROR(CheckHead(model.spec(), own));
  RETURN_IF_ERROR(CheckPositions(own.positions));
  if (!std::isfinite(own.coefficient)) {
    return absl::InvalidArgumentError("the coefficient is not finite");
  }
  if (own.site == Site::kFinalNorm) own.block = -1;
  if (own.op == Op::kScale) return SortIndices(own.positions).status();
  RETURN_IF_ERROR(CheckVector(model.spec(), own));
  absl::StatusOr<at::Tensor> ready = own.vector;
  RETURN_IF_ERROR(
      CatchTorch("the vector", [&] { ready = MakeReady(model, own); }));
  ASSIGN_OR_RETURN(own.vector, ready);
  ASSIGN_OR_RETURN(const std::vector<int64_t> order,
                   SortIndices(own.positions));
  if (own.vector.dim() == 2) {
    own.vector = own.vector.index_select(
        0, at::tensor(order, at::kLong).to(own.vector.device()));
  }
  return absl::OkStatus();
}

bool ChangesNothing(const Intervention& own) {
  return (own.op == Op::kAdd && own.coefficient == 0.0) ||
         (own.op == Op::kScale && own.coefficient == 1.0);
}

}  // namespace

Positions Positions::Of(Kind kind) {
  Positions positions;
  positions.kind = kind;
  return positions;
}

Positions Positions::Range(int64_t begin, int64_t end) {
  Positions positions = Of(Kind::kRange);
  positions.begin = begin;
  positions.end = end;
  return positions;
}

Positions Positions::Indices(std::vector<int64_t> indices) {
  Positions positions = Of(Kind::kIndices);
  positions.indices = std::move(indices);
  return positions;
}

bool Positions::Contains(int64_t position, int64_t prompt_count) const {
  switch (kind) {
    case Kind::kAll:
      return true;
    case Kind::kPrompt:
      return position < prompt_count;
    case Kind::kLastPrompt:
      return position == prompt_count - 1;
    case Kind::kGenerated:
      return position >= prompt_count;
    case Kind::kRange:
      return position >= begin && position < end;
    case Kind::kIndices:
      return std::binary_search(indices.begin(), indices.end(), position);
  }
  return false;
}

int64_t Positions::FirstInPrompt(int64_t prompt_count) const {
  for (int64_t position = 0; position < prompt_count; ++position) {
    if (Contains(position, prompt_count)) return position;
  }
  return prompt_count;
}

absl::Status CheckPositions(const Positions& positions) {
  const bool is_bad_range =
      positions.kind == Positions::Kind::kRange &&
      (positions.begin < 0 || positions.end <= positions.begin);
  const bool is_negative =
      std::any_of(positions.indices.begin(), positions.indices.end(),
                  [](int64_t index) { return index < 0; });
  if (!is_bad_range && !is_negative) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "positions count from 0, and a range must not be empty");
}

absl::StatusOr<std::vector<int64_t>> SortIndices(Positions& positions) {
  const std::vector<int64_t> before = positions.indices;
  std::vector<int64_t> order(before.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto at = [&before](int64_t i) {
    return before[static_cast<size_t>(i)];
  };
  std::sort(order.begin(), order.end(),
            [&at](int64_t a, int64_t b) { return at(a) < at(b); });
  std::transform(order.begin(), order.end(), positions.indices.begin(), at);
  const auto twice =
      std::adjacent_find(positions.indices.begin(), positions.indices.end());
  if (twice == positions.indices.end()) return order;
  return absl::InvalidArgumentError(
      absl::StrCat("position ", *twice, " is listed twice"));
}

absl::Status CheckIntervention(const Model& model, Intervention intervention) {
  return Prepare(model, intervention);
}

absl::StatusOr<std::shared_ptr<const Interventions>> PrepareInterventions(
    const Model& model, Interventions interventions) {
  for (size_t i = 0; i < interventions.size(); ++i) {
    RETURN_IF_ERROR(Annotate(Prepare(model, interventions[i]),
                             absl::StrCat("interventions[", i, "]")));
  }
  std::erase_if(interventions, ChangesNothing);
  return std::make_shared<const Interventions>(std::move(interventions));
}

int64_t LatestEntry(const DecoderSpec& spec,
                    const Interventions& interventions) {
  int64_t latest = spec.block_count() - 1;
  for (const Intervention& own : interventions) {
    latest = std::min(latest, LatestEntry(spec, own.site, own.block));
  }
  return latest;
}

int64_t FirstChanged(const Interventions& interventions, int64_t prompt_count) {
  int64_t first = prompt_count;
  for (const Intervention& own : interventions) {
    first = std::min(first, own.positions.FirstInPrompt(prompt_count));
  }
  return first;
}

}  // namespace dissonance
