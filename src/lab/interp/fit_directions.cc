#include "src/lab/interp/fit_directions.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/files/json_document.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/probe_labels.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

constexpr char kUnit[] = "directions";

const SpecFields& Fields() {
  static const SpecFields& fields = *new SpecFields("fit_directions");
  return fields;
}

// A spec that has been checked.
struct Plan {
  PromptSet set;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  v1::DirectionMethod method = v1::DIRECTION_METHOD_MEAN_DIFFERENCE;
  ProbeQuestion target;  // without labels where no rule was given
};

absl::StatusOr<v1::DirectionMethod> MethodOf(
    const v1::FitDirectionsSpec& spec) {
  switch (spec.method()) {
    case v1::DIRECTION_METHOD_UNSPECIFIED:
      return v1::DIRECTION_METHOD_MEAN_DIFFERENCE;
    case v1::DIRECTION_METHOD_MEAN_DIFFERENCE:
    case v1::DIRECTION_METHOD_CONTRAST_PCA:
    case v1::DIRECTION_METHOD_VARIANT_DIFFERENCE:
      return spec.method();
    default:
      return Fields().Bad(
          "method",
          "nothing is fitted so; use mean_difference, contrast_pca or "
          "variant_difference");
  }
}

absl::Status CheckTarget(const v1::FitDirectionsSpec& spec, Plan& plan) {
  const bool is_difference =
      plan.method == v1::DIRECTION_METHOD_VARIANT_DIFFERENCE;
  if (spec.variants_size() != (is_difference ? 2 : 1)) {
    return Fields().Bad("variants", is_difference
                                        ? "a difference of variants needs two"
                                        : "this method takes one");
  }
  if (!spec.has_target()) {
    if (is_difference) return absl::OkStatus();
    return Fields().Bad("target", "this method needs rows of two classes");
  }
  ASSIGN_OR_RETURN(plan.target,
                   ClassesOf(spec.target(), Fields(), "target", plan.set));
  const auto& classes = plan.target.labels.classes();
  for (const int32_t wanted : {1, 0}) {
    if (absl::c_linear_search(classes, wanted)) continue;
    if (wanted == 0 && is_difference) continue;
    return Fields().Bad("target", absl::StrCat("no row is of class ", wanted,
                                               " of ", plan.target.name));
  }
  if (!absl::c_any_of(classes, [](int32_t own) { return own > 1; })) {
    return absl::OkStatus();
  }
  return Fields().Bad("target.values",
                      "there are more than two classes; give the two");
}

absl::StatusOr<Plan> MakePlan(const v1::JobSpec& job_spec) {
  if (!job_spec.has_fit_directions()) {
    return absl::InvalidArgumentError("spec.kind: expected fit_directions");
  }
  const v1::FitDirectionsSpec& spec = job_spec.fit_directions();
  Plan plan;
  RETURN_IF_ERROR(Fields().CheckVariants(spec.variants()));
  ASSIGN_OR_RETURN(plan.method, MethodOf(spec));
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  ASSIGN_OR_RETURN(plan.set, Fields().ReadPrompts(PromptDataOf(spec)));
  RETURN_IF_ERROR(CheckTarget(spec, plan));
  return plan;
}

absl::Status CheckPlaces(const v1::FitDirectionsSpec& spec,
                         ComputeClient& compute) {
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute.GetModel(spec.variants(0).model()));
  return Fields()
      .Places(spec.sites(), spec.blocks(), model.block_count())
      .status();
}

std::vector<std::string> NamesOf(const v1::FitDirectionsSpec& spec) {
  std::vector<std::string> names;
  for (const v1::Variant& each : spec.variants()) {
    names.push_back(VariantName(each));
  }
  return names;
}

std::string MethodWord(v1::DirectionMethod method) {
  return absl::AsciiStrToLower(
      absl::StripPrefix(v1::DirectionMethod_Name(method), "DIRECTION_METHOD_"));
}

absl::StatusOr<v1::FitDirectionsResponse> Fit(InterpClient& compute,
                                              const v1::FitDirectionsSpec& spec,
                                              const Plan& plan,
                                              const CallOptions& call) {
  const std::vector<v1::Variant> variants(spec.variants().begin(),
                                          spec.variants().end());
  ASSIGN_OR_RETURN(
      const RenderedPrompts rendered,
      RenderPrompts(plan.set, variants, plan.scoring, compute, call));
  v1::FitDirectionsRequest request;
  *request.mutable_variants() = spec.variants();
  *request.mutable_inputs() = {rendered.inputs.begin(), rendered.inputs.end()};
  *request.mutable_sites() = spec.sites();
  *request.mutable_blocks() = spec.blocks();
  if (spec.has_positions()) *request.mutable_positions() = spec.positions();
  if (spec.has_target()) *request.mutable_labels() = plan.target.labels;
  request.set_method(plan.method);
  return compute.FitDirections(request, call);
}

nlohmann::json PlacesJson(const v1::FitDirectionsResponse& fit) {
  nlohmann::json places = nlohmann::json::object();
  for (const v1::DirectionVector& vector : fit.vectors()) {
    places[PlaceName(vector.place())] = {
        {"norm", vector.norm()}, {"residual_norm", vector.residual_norm()}};
  }
  return places;
}

absl::Status WriteFiles(const v1::FitDirectionsSpec& spec, const Plan& plan,
                        const v1::FitDirectionsResponse& fit, JobContext& job) {
  nlohmann::json source = {{"data_sha256", Sha256Of(spec.data())},
                           {"row_counts", fit.row_counts()}};
  if (spec.has_target()) source["target"] = plan.target.name;
  for (int v = 0; v < spec.variants_size(); ++v) {
    source["variants"].push_back(
        VariantJson(spec.variants(v), fit.provenance(v)));
  }
  v1::Direction direction;
  direction.set_model(spec.variants(0).model());
  direction.set_method(plan.method);
  direction.set_source_json(source.dump());
  *direction.mutable_vectors() = fit.vectors();
  RETURN_IF_ERROR(NormalizeVectors(direction));
  const nlohmann::json summary = {{"method", MethodWord(plan.method)},
                                  {"places", PlacesJson(fit)},
                                  {"source", source}};
  const std::vector<JobFile> files = {
      {kDirectionFileName, DirectionFile(direction)},
      {"summary.json", JsonDocument(summary)}};
  return AddFiles(
      job, files,
      {{"job_kind", "fit_directions"},
       {"method", MethodWord(plan.method)},
       {"variants", source["variants"]},
       {"data",
        {{"name", spec.data_name()}, {"sha256", Sha256Of(spec.data())}}}});
}

}  // namespace

absl::Status FitDirections::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(MakePlan(spec).status());
  RETURN_IF_ERROR(
      Fields().CheckLoaded(spec.fit_directions().variants(), compute_));
  return CheckPlaces(spec.fit_directions(), compute_);
}

absl::Status FitDirections::Run(const v1::JobSpec& job_spec, JobContext& job) {
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(job_spec));
  const v1::FitDirectionsSpec& spec = job_spec.fit_directions();
  KeptNetworks networks(job, NamesOf(spec), Sha256Of(spec.data()), 0);
  ASSIGN_OR_RETURN(const std::vector<std::string> stored, job.RecordedItems());
  RETURN_IF_ERROR(networks.Resume(stored.size()));
  v1::FitDirectionsResponse fit;
  if (stored.empty()) {
    RETURN_IF_ERROR(job.Log(GroupsOf(plan.set).text));
    const CallOptions call = {.cancelled = [&job] { return job.cancelled(); },
                              .spend = &job.spend()};
    ASSIGN_OR_RETURN(fit, Fit(compute_, spec, plan, call));
    RETURN_IF_ERROR(
        networks.Keep(std::vector<v1::Provenance>(fit.provenance().begin(),
                                                  fit.provenance().end()),
                      0));
    RETURN_IF_ERROR(job.RecordItems(0, {fit.SerializeAsString()}, 1, kUnit));
  } else if (!fit.ParseFromString(stored[0]) ||
             fit.provenance_size() != spec.variants_size()) {
    return absl::DataLossError("record 0: not one of a fit_directions job");
  }
  return WriteFiles(spec, plan, fit, job);
}

DeviceMemory FitDirections::Memory(const v1::JobSpec& spec) {
  return MemoryOf(spec.fit_directions().variants(), compute_);
}

}  // namespace dissonance
