#include "src/lab/interp/train_probes.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/interp/activation_rows.h"
#include "src/lab/interp/ask_networks.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/probes_attempt.h"
#include "src/lab/interp/probes_plan.h"

namespace dissonance {
namespace {

absl::Status CheckKind(const v1::JobSpec& spec) {
  return spec.has_train_probes()
             ? absl::OkStatus()
             : absl::InvalidArgumentError("spec.kind: expected train_probes");
}

}  // namespace

absl::Status TrainProbes::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(CheckKind(spec));
  ASSIGN_OR_RETURN(const ProbesPlan plan, MakeProbesPlan(spec, jobs_));
  const v1::TrainProbesSpec& probes = spec.train_probes();
  if (plan.source.has_value()) {
    RETURN_IF_ERROR(CheckRowsBytes(*plan.source, plan.variants));
  } else {
    RETURN_IF_ERROR(
        SpecFields("train_probes").CheckLoaded(probes.variants(), compute_));
  }
  return ProbePlaces(probes, plan, compute_).status();
}

absl::Status TrainProbes::CheckRowsBytes(
    const v1::Job& source, const std::vector<v1::Variant>& variants) {
  int64_t bytes = 0;
  for (const std::string& variant : VariantLabels(variants)) {
    ASSIGN_OR_RETURN(const int64_t own,
                     WidestRowsBytes(jobs_, source, variant));
    bytes += own;
  }
  if (bytes <= options_.rows_bytes) return absl::OkStatus();
  return SpecFields("train_probes")
      .Bad("activations_job",
           absl::StrCat("the rows of all variants at one place of ",
                        source.name(), " take ", bytes, " bytes, at most ",
                        options_.rows_bytes,
                        " can be sent; leave it out, so that they are captured "
                        "again and stay on the device"));
}

absl::Status TrainProbes::Run(const v1::JobSpec& spec, JobContext& job) {
  RETURN_IF_ERROR(CheckKind(spec));
  ASSIGN_OR_RETURN(ProbesPlan plan, MakeProbesPlan(spec, jobs_));
  ASSIGN_OR_RETURN(std::vector<v1::SiteRef> places,
                   ProbePlaces(spec.train_probes(), plan, compute_));
  ProbesAttempt attempt({.compute = compute_, .jobs = jobs_, .job = job},
                        spec.train_probes(), std::move(plan),
                        std::move(places));
  RETURN_IF_ERROR(attempt.Resume());
  RETURN_IF_ERROR(attempt.AskQuestions());
  RETURN_IF_ERROR(attempt.TrainRest());
  return attempt.WriteFiles();
}

DeviceMemory TrainProbes::Memory(const v1::JobSpec& spec) {
  return MemoryOf(spec.train_probes().variants(), compute_);
}

}  // namespace dissonance
