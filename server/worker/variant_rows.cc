#include "server/worker/variant_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <c10/util/ParallelGuard.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {

absl::StatusOr<std::vector<ResolvedVariant>> ResolveVariantsOfOneModel(
    const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
    ModelRegistry& registry) {
  ASSIGN_OR_RETURN(std::vector<ResolvedVariant> resolved,
                   ResolveVariants(variants, registry));
  for (size_t v = 1; v < resolved.size(); ++v) {
    if (resolved[v].model.model == resolved[0].model.model) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "variants[", v, "]: ", resolved[v].model.name,
        " is another model than the first one's, ", resolved[0].model.name));
  }
  return resolved;
}

int64_t VariantRowsPlan::bytes() const {
  int64_t width = 0;
  for (const int64_t own : widths) width += own;
  return width * static_cast<int64_t>(variants.size() * prompts->size() *
                                      c10::elementSize(dtype));
}

absl::StatusOr<VariantRowsPlan> MakeVariantRowsPlan(
    const AskedRows& asked, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled) {
  VariantRowsPlan plan;
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariantsOfOneModel(asked.variants, registry));
  const ResidentModel& resident = plan.variants.front().model;
  const Model& model = *resident.model;
  plan.dtype = model.dtype() == at::kDouble ? at::kDouble : at::kFloat;
  auto sites = asked.sites;
  if (sites.empty()) sites.Add(v1::SITE_RESID_POST);
  CaptureSpec capture;
  ASSIGN_OR_RETURN(capture.places, PlacesOf(model, sites, asked.blocks));
  for (const SitePlace& place : capture.places) {
    if (place.site == Site::kPattern || place.site == Site::kLogits) {
      return absl::InvalidArgumentError(
          absl::StrCat("sites: nothing is fitted to ", SiteName(place.site)));
    }
    plan.widths.push_back(
        std::max<int64_t>(SiteHeads(model.spec(), place.site), 1) *
        SiteWidth(model.spec(), place.site));
  }
  ASSIGN_OR_RETURN(capture.positions,
                   PositionsOf(asked.positions, Positions::Kind::kLastPrompt));
  ASSIGN_OR_RETURN(plan.capture, PrepareCapture(model, std::move(capture)));
  ASSIGN_OR_RETURN(plan.prompts,
                   EncodePrompts(resident, asked.inputs, limits, cancelled));
  for (int i = 0; i < asked.inputs.size(); ++i) {
    plan.labels.push_back(InputLabel(asked.inputs, i));
  }
  RETURN_IF_ERROR(
      CheckInPrompts(plan.capture->positions, *plan.prompts, asked.inputs));
  RETURN_IF_ERROR(
      CheckSize(std::vector<Prompts>(plan.variants.size(), plan.prompts),
                /*sample_count=*/1, /*new_count=*/0, limits));
  return plan;
}

// One input by one variant.
class VariantRows::Unit final : public GenerateListener {
 public:
  // Borrows the rows, which live until their units have left.
  Unit(VariantRows& rows, size_t variant, size_t input)
      : rows_(rows), variant_(variant), input_(input) {}

  bool OnToken(GeneratedToken /*token*/) override { return false; }

  void OnCaptured(CapturedRows rows) override {
    // Pieces of a prompt end with tiles, whatever else runs, so a sum by tiles
    // is the same for all divisions.
    const int64_t tile = rows_.engine_.options().attention_tile;
    const auto count = static_cast<int64_t>(rows.positions.size());
    for (int64_t begin = 0, end = 0; begin < count; begin = end) {
      const int64_t own = rows.positions[static_cast<size_t>(begin)] / tile;
      while (end < count &&
             rows.positions[static_cast<size_t>(end)] / tile == own) {
        ++end;
      }
      AddTile(rows, begin, end - begin);
    }
    count_ += count;
  }

  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    absl::Status status = reason.status();
    if (status.ok()) status = CatchTorch("captured rows", [&] { Store(); });
    if (!status.ok()) {
      rows_.group_.Fail(Annotate(status, rows_.plan_.labels[input_]));
    }
    rows_.group_.Leave();
  }

 private:
  void AddTile(const CapturedRows& rows, int64_t begin, int64_t count) {
    sums_.resize(rows.values.size());
    for (size_t p = 0; p < sums_.size(); ++p) {
      const at::Tensor wide =
          rows.values[p].narrow(0, begin, count).to(at::kDouble).flatten(1);
      const at::Tensor sum = count == 1 ? wide[0] : at::sum(wide, /*dim=*/0);
      sums_[p] = sums_[p].defined() ? sums_[p] + sum : sum;
    }
  }

  void Store() {
    for (size_t p = 0; p < sums_.size(); ++p) {
      rows_.matrices_[variant_][p][static_cast<int64_t>(input_)].copy_(
          sums_[p] / static_cast<double>(count_));
    }
  }

  VariantRows& rows_;
  const size_t variant_;
  const size_t input_;
  std::vector<at::Tensor> sums_;  // of each place, float64
  int64_t count_ = 0;
};

VariantRows::VariantRows(Engine& engine, const VariantRowsPlan& plan,
                         Priority priority,
                         std::function<void(const absl::Status&)> on_end)
    : engine_(engine),
      plan_(plan),
      priority_(priority),
      group_(engine, std::move(on_end)) {}

absl::Status VariantRows::Allocate() {
  return CatchTorch("rows of activations", [&] {
    // The other processors are the engine's.
    const c10::ParallelGuard serial(/*state=*/true);
    const auto inputs = static_cast<int64_t>(plan_.prompts->size());
    const at::TensorOptions options =
        at::TensorOptions(plan_.dtype)
            .device(plan_.variants.front().model.model->device());
    matrices_.resize(plan_.variants.size());
    for (std::vector<at::Tensor>& own : matrices_) {
      for (const int64_t width : plan_.widths) {
        // Zeros are written, so that the memory is taken now.
        own.push_back(at::zeros({inputs, width}, options));
      }
    }
  });
}

void VariantRows::Start() {
  for (size_t v = 0; v < plan_.variants.size(); ++v) {
    for (size_t i = 0; i < plan_.prompts->size() && !group_.has_failed(); ++i) {
      group_.Add([this, v, i] { return Submit(v, i); });
    }
  }
  group_.Leave();
}

absl::StatusOr<std::vector<int64_t>> VariantRows::Submit(size_t variant,
                                                         size_t input) {
  GenerateTask task;
  task.prompt = (*plan_.prompts)[input].tokens;
  task.max_new_tokens = 0;
  task.capture = plan_.capture;
  const absl::StatusOr<int64_t> number = engine_.SubmitGenerate(
      plan_.variants[variant].ForEngine(), std::move(task),
      std::make_shared<Unit>(*this, variant, input), priority_);
  if (number.ok()) return std::vector<int64_t>{*number};
  return Annotate(number.status(), plan_.labels[input]);
}

}  // namespace dissonance
