#include "server/worker/train_probes_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/worker/interp_messages.h"
#include "server/worker/probe_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/probe/place_fits.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr int kMaxTargets = 100;
constexpr int kMaxComponents = 5;
constexpr int kMaxStrengths = 100;
// Labels in another order that are kept for the controls.
constexpr int64_t kMaxShuffled = 50'000'000;

std::vector<std::string> GroupsOf(const Inputs& inputs, int64_t row_count) {
  std::vector<std::string> groups(static_cast<size_t>(row_count));
  for (int i = 0; i < inputs.size(); ++i) {
    groups[static_cast<size_t>(i)] = inputs[i].group();
  }
  return groups;
}

// The first row that is not finite; -1: none.
int64_t FirstNonFinite(const at::Tensor& rows) {
  const at::Tensor finite = at::isfinite(rows).all(/*dim=*/1);
  for (int64_t row = 0; row < finite.size(0); ++row) {
    if (!finite[row].item<bool>()) return row;
  }
  return -1;
}

// One matrix of a request. `row_count` -1: any.
absl::StatusOr<at::Tensor> MatrixOf(const v1::Tensor& message,
                                    int64_t row_count, int64_t width) {
  absl::StatusOr<at::Tensor> rows = TensorOf(message);
  if (!rows.ok()) return Annotate(rows.status(), "rows");
  const bool fits = rows->dim() == 2 &&
                    (row_count < 0 || rows->size(0) == row_count) &&
                    (width < 0 || rows->size(1) == width);
  if (!fits || rows->numel() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows: expected shape [",
                     row_count < 0 ? "inputs" : absl::StrCat(row_count), ", ",
                     width < 0 ? "width" : absl::StrCat(width), "], found [",
                     absl::StrJoin(rows->sizes(), ", "), "]"));
  }
  if (rows->scalar_type() != at::kFloat && rows->scalar_type() != at::kDouble) {
    return absl::InvalidArgumentError(
        "rows: expected float32 or float64 numbers");
  }
  return rows;
}

absl::Status CheckMatrix(const at::Tensor& rows, const TrainProbesPlan& plan,
                         size_t place) {
  int64_t row = -1;
  RETURN_IF_ERROR(CatchTorch("rows", [&] { row = FirstNonFinite(rows); }));
  if (row < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "rows: ", plan.labels[static_cast<size_t>(row)],
      " holds NaN or infinity at ", PlaceLabel(plan.places[place])));
}

absl::Status ReadPlace(const v1::ActivationMatrix& message, size_t variant,
                       size_t place, TrainProbesPlan& plan) {
  if (variant == 0) {
    RETURN_IF_ERROR(Annotate(SiteOf(message.place().site()).status(), "place"));
    plan.places.push_back(message.place());
  } else if (PlaceLabel(message.place()) != PlaceLabel(plan.places[place])) {
    return absl::InvalidArgumentError(absl::StrCat(
        "place: expected ", PlaceLabel(plan.places[place]),
        " as in the first variant, found ", PlaceLabel(message.place())));
  }
  const bool is_first = variant == 0 && place == 0;
  ASSIGN_OR_RETURN(
      at::Tensor rows,
      MatrixOf(message.rows(), is_first ? -1 : plan.given[0][0].size(0),
               variant == 0 ? -1 : plan.given[0][place].size(1)));
  if (is_first) plan.labels.resize(static_cast<size_t>(rows.size(0)));
  plan.given[variant].push_back(std::move(rows));
  return absl::OkStatus();
}

// Takes over what the request brings.
absl::Status ReadGiven(const v1::TrainProbesRequest& request,
                       TrainProbesPlan& plan) {
  if (request.variants_size() != 0 &&
      request.variants_size() != request.activations_size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "activations: expected one per variant, which are ",
        request.variants_size(), ", found ", request.activations_size()));
  }
  plan.given.resize(static_cast<size_t>(request.activations_size()));
  for (int v = 0; v < request.activations_size(); ++v) {
    const auto& own = request.activations(v).places();
    if (own.empty() || own.size() != request.activations(0).places_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "activations[", v, "].places: expected at least one, and as many as ",
          "in the first variant, found ", own.size()));
    }
    for (int p = 0; p < own.size(); ++p) {
      RETURN_IF_ERROR(
          Annotate(ReadPlace(own[p], static_cast<size_t>(v),
                             static_cast<size_t>(p), plan),
                   absl::StrCat("activations[", v, "].places[", p, "]")));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGiven(const v1::TrainProbesRequest& request,
                        TrainProbesPlan& plan) {
  const auto rows = static_cast<int>(plan.labels.size());
  if (request.inputs_size() != 0 && request.inputs_size() != rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "inputs: expected none or one per row of activations, which are ", rows,
        ", found ", request.inputs_size()));
  }
  for (int i = 0; i < rows; ++i) {
    plan.labels[static_cast<size_t>(i)] = request.inputs().empty()
                                              ? absl::StrCat("inputs[", i, "]")
                                              : InputLabel(request.inputs(), i);
  }
  std::set<std::string> places;
  for (const v1::SiteRef& place : plan.places) {
    if (places.insert(PlaceLabel(place)).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("activations: ", PlaceLabel(place), " is given twice"));
  }
  for (size_t v = 0; v < plan.given.size(); ++v) {
    for (size_t p = 0; p < plan.given[v].size(); ++p) {
      RETURN_IF_ERROR(
          Annotate(CheckMatrix(plan.given[v][p], plan, p),
                   absl::StrCat("activations[", v, "].places[", p, "]")));
    }
  }
  // The fits are computed in one type.
  for (std::vector<at::Tensor>& own : plan.given) {
    for (const at::Tensor& matrix : own) {
      if (matrix.scalar_type() == at::kDouble) plan.dtype = at::kDouble;
    }
  }
  return absl::OkStatus();
}

absl::Status MoveGiven(const at::Device& device, TrainProbesPlan& plan) {
  return CatchTorch("rows of activations", [&] {
    for (std::vector<at::Tensor>& own : plan.given) {
      for (at::Tensor& matrix : own) {
        matrix = matrix.to(device, plan.dtype);
      }
    }
  });
}

absl::Status CheckCounts(const v1::TrainProbesRequest& request) {
  if (request.targets().empty() || request.targets_size() > kMaxTargets) {
    return absl::InvalidArgumentError(absl::StrCat("targets: expected 1 to ",
                                                   kMaxTargets, ", found ",
                                                   request.targets_size()));
  }
  if (request.options().c_values_size() > kMaxStrengths) {
    return absl::InvalidArgumentError(
        absl::StrCat("options.c_values: expected at most ", kMaxStrengths,
                     ", found ", request.options().c_values_size()));
  }
  const int components = request.component_count();
  if (components != 0 && (components < 2 || components > kMaxComponents)) {
    return absl::InvalidArgumentError(
        absl::StrCat("component_count: expected 0 or 2 to ", kMaxComponents,
                     ", found ", components));
  }
  return absl::OkStatus();
}

absl::Status CheckShuffled(const ProbeOptions& options, int64_t problems,
                           int64_t rows) {
  const int64_t each = problems * rows;
  if (options.permutation_count <= kMaxShuffled / std::max<int64_t>(each, 1)) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("options.permutation_count: ", options.permutation_count,
                   " times the labels of ", rows, " inputs by ", problems,
                   " targets and variants are more than ", kMaxShuffled,
                   "; ask for fewer of one of them"));
}

// The most that the work on places under way takes beside the rows.
int64_t FitBytes(const TrainProbesPlan& plan, int64_t widest) {
  const int64_t all_rows =
      plan.probes->row_count() * plan.probes->variant_count();
  const int64_t smaller = std::min(all_rows, widest);
  // Rows in float64, centered, and their Gram matrix with its vectors.
  const int64_t components =
      plan.component_count == 0
          ? 0
          : int64_t{8} * (2 * all_rows * widest + 3 * smaller * smaller);
  // Those of a place come when its probes are done.
  const int64_t fit = PlaceFit::Bytes(*plan.probes, widest);
  return (plan.places_at_once - 1) * fit + std::max(fit, components);
}

absl::Status Reserve(TrainingBudget& budget, const std::vector<int64_t>& widths,
                     const at::Device& device, TrainProbesPlan& plan) {
  const int64_t widest = *std::max_element(widths.begin(), widths.end());
  plan.places_at_once =
      std::min(PlaceFits::AtOnce(*plan.probes, widest, device),
               static_cast<int64_t>(plan.places.size()));
  const int64_t rows = plan.probes->row_count();
  const int64_t variants = plan.probes->variant_count();
  int64_t width = 0;
  for (const int64_t own : widths) width += own;
  ASSIGN_OR_RETURN(
      plan.lease,
      budget.Reserve(ProbeNeed{
          .matrix_bytes = width * rows * variants *
                          static_cast<int64_t>(c10::elementSize(plan.dtype)),
          .fit_bytes = FitBytes(plan, widest),
          .row_count = rows,
          .place_count = static_cast<int64_t>(plan.places.size()),
          .variant_count = variants}));
  return absl::OkStatus();
}

}  // namespace

std::string PlaceLabel(const v1::SiteRef& place) {
  const absl::StatusOr<Site> site = SiteOf(place.site());
  const std::string name =
      site.ok() ? std::string(SiteName(*site))
                : absl::StrCat("site ", static_cast<int>(place.site()));
  const bool has_block = !site.ok() || !IsBehindBlocks(*site);
  return has_block ? absl::StrCat(name, " of block ", place.block()) : name;
}

absl::StatusOr<TrainProbesPlan> MakeTrainProbesPlan(
    const v1::TrainProbesRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, TrainingBudget& budget,
    const Cancelled& cancelled) {
  RETURN_IF_ERROR(CheckCounts(request));
  absl::StatusOr<ProbeOptions> options = OptionsOf(request.options());
  if (!options.ok()) return Annotate(options.status(), "options");
  TrainProbesPlan plan;
  plan.component_count = request.component_count();
  std::vector<int64_t> widths;
  if (request.activations().empty()) {
    ASSIGN_OR_RETURN(plan.rows,
                     MakeVariantRowsPlan({.variants = request.variants(),
                                          .inputs = request.inputs(),
                                          .sites = request.sites(),
                                          .blocks = request.blocks(),
                                          .positions = request.positions()},
                                         registry, limits, cancelled));
    plan.labels = plan.rows->labels;
    plan.dtype = plan.rows->dtype;
    widths = plan.rows->widths;
    for (const SitePlace& place : plan.rows->capture->places) {
      plan.places.push_back(ToMessage(place));
    }
    plan.digest = MessageDigest(request);
  } else {
    RETURN_IF_ERROR(ReadGiven(request, plan));
    RETURN_IF_ERROR(CheckGiven(request, plan));
    for (const at::Tensor& own : plan.given[0]) widths.push_back(own.size(1));
    const auto rows = static_cast<int64_t>(plan.labels.size());
    if (rows > limits.items) {
      return OverLimit("rows", rows, limits.items, "items");
    }
  }
  const auto row_count = static_cast<int64_t>(plan.labels.size());
  const auto variant_count = static_cast<int64_t>(
      plan.rows.has_value() ? plan.rows->variants.size() : plan.given.size());
  RETURN_IF_ERROR(CheckShuffled(
      *options, request.targets_size() * variant_count, row_count));
  ASSIGN_OR_RETURN(
      plan.probes,
      ProbePlan::Create(*std::move(options), TargetsOf(request.targets()),
                        GroupsOf(request.inputs(), row_count), variant_count));
  RETURN_IF_ERROR(Reserve(budget, widths, registry.device(), plan));
  if (!plan.rows.has_value()) {
    RETURN_IF_ERROR(MoveGiven(registry.device(), plan));
    plan.lease.SetAllocated();
  }
  return plan;
}

}  // namespace dissonance
