#include "server/worker/activations_plan.h"

#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/worker/generate_plan.h"
#include "server/worker/interp_messages.h"
#include "server/worker/model_messages.h"
#include "server/worker/versions.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

// A cursor is "UNITS:DIGEST": how many units of which request have arrived.
absl::StatusOr<int64_t> UnitsBefore(const std::string& cursor,
                                    const ActivationsPlan& plan) {
  if (cursor.empty()) return 0;
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(cursor, absl::MaxSplits(':', 1));
  int64_t units = 0;
  if (!absl::SimpleAtoi(parts.first, &units) || units < 0 ||
      units > plan.unit_count()) {
    return absl::InvalidArgumentError(
        "cursor: not one that StreamActivations gave");
  }
  if (parts.second == plan.digest) return units;
  return absl::FailedPreconditionError(
      "cursor: it belongs to another request, or a model, an adapter or the "
      "server has changed since; begin anew without it");
}

std::string DigestOf(const ActivationsPlan& plan, const EngineOptions& engine) {
  v1::StreamActivationsRequest request = *plan.request;
  request.clear_cursor();
  for (v1::Variant& variant : *request.mutable_variants()) {
    // Content counts, below.
    variant.clear_model();
    variant.clear_adapter();
  }
  Sha256 all;
  all.UpdateFramed(MessageDigest(request));
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    const ResolvedVariant& variant = plan.variants[v];
    const Model& model = *variant.model.model;
    all.UpdateFramed(model.digest());
    all.UpdateFramed(DtypeName(model.dtype()));
    all.UpdateFramed(model.device().str());
    all.UpdateFramed(variant.adapter == nullptr ? ""
                                                : variant.adapter->digest());
    // Of generation_config.json, which the model's digest leaves out.
    all.UpdateFramed(absl::StrJoin(variant.model.eos_token_ids, ","));
    for (const EncodedPrompt& prompt : *plan.prompts[v]) {
      all.UpdateFramed(absl::StrJoin(prompt.tokens, ","));
    }
  }
  for (const auto& [name, version] : NumericsOf(engine)) {
    all.UpdateFramed(absl::StrCat(name, "=", version));
  }
  all.UpdateFramed(engine.reproducible ? "reproducible" : "");
  return all.Finish();
}

absl::Status CheckReduction(v1::Reduction reduction,
                            const CaptureSpec& capture) {
  if (!v1::Reduction_IsValid(reduction)) {
    return absl::InvalidArgumentError(
        absl::StrCat("reduction: ", static_cast<int>(reduction),
                     " is none that is known here"));
  }
  const bool has_pattern = absl::c_any_of(
      capture.places,
      [](const SitePlace& place) { return place.site == Site::kPattern; });
  if (reduction != v1::REDUCTION_MEAN || !has_pattern) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "reduction: rows of SITE_PATTERN differ in length and have no mean");
}

}  // namespace

std::string ActivationsPlan::CursorBehind(int64_t unit) const {
  return absl::StrCat(unit + 1, ":", digest);
}

absl::StatusOr<at::ScalarType> WireType(v1::DType asked, const Model& model) {
  ASSIGN_OR_RETURN(const std::optional<at::ScalarType> dtype,
                   FromMessage(asked));
  if (dtype.has_value()) return *dtype;
  return model.dtype() == at::kDouble ? at::kDouble : at::kFloat;
}

absl::StatusOr<ActivationsPlan> MakeActivationsPlan(
    const v1::StreamActivationsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const EngineOptions& engine,
    const Cancelled& cancelled) {
  ActivationsPlan plan;
  plan.request = std::make_shared<const v1::StreamActivationsRequest>(request);
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariants(request.variants(), registry));
  for (const ResolvedVariant& variant : plan.variants) {
    const Model& model = *variant.model.model;
    absl::StatusOr<std::shared_ptr<const CaptureSpec>> capture =
        CaptureOf(model, request.capture());
    if (!capture.ok()) return Annotate(capture.status(), "capture");
    RETURN_IF_ERROR(Annotate(
        CheckReduction(request.capture().reduction(), **capture), "capture"));
    plan.captures.push_back(*std::move(capture));
    RETURN_IF_ERROR(Annotate(
        WireType(request.capture().dtype(), model).status(), "capture"));
    if (request.has_generation()) {
      RETURN_IF_ERROR(Annotate(
          GenerationTaskOf(request.generation(), variant.model).status(),
          "generation"));
    }
  }
  ASSIGN_OR_RETURN(
      plan.prompts,
      EncodeForVariants(plan.variants, request.inputs(), limits, cancelled));
  RETURN_IF_ERROR(CheckSize(plan.prompts, /*sample_count=*/1,
                            request.generation().max_new_token_count(),
                            limits));
  for (size_t v = 0; v < plan.variants.size() && !request.has_generation();
       ++v) {
    RETURN_IF_ERROR(CheckInPrompts(plan.captures[v]->positions,
                                   *plan.prompts[v], request.inputs()));
  }
  plan.digest = DigestOf(plan, engine);
  ASSIGN_OR_RETURN(plan.first_unit, UnitsBefore(request.cursor(), plan));
  return plan;
}

v1::ActivationSummary SummaryOf(const ActivationsPlan& plan, int64_t row_count,
                                bool from_store, const EngineOptions& engine) {
  v1::ActivationSummary summary;
  // Resumed or not, the rows come of the same input.
  v1::StreamActivationsRequest whole = *plan.request;
  whole.clear_cursor();
  const std::string digest = MessageDigest(whole);
  const v1::Sampling& sampling = plan.request->generation().sampling();
  for (const ResolvedVariant& variant : plan.variants) {
    *summary.add_provenance() =
        ProvenanceOf(variant, digest,
                     sampling.temperature() > 0 ? sampling.seed() : 0, engine);
  }
  summary.set_row_count(row_count);
  summary.set_from_store(from_store);
  return summary;
}

}  // namespace dissonance
