// What an attempt does once training is over.
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/finetune/fine_tune_attempt.h"
#include "src/lab/finetune/output_names.h"

namespace dissonance {
namespace {

constexpr absl::string_view kJson = "application/json";

bool SameFiles(const v1::AdapterArtifacts& a, const v1::AdapterArtifacts& b) {
  return a.config() == b.config() && a.weights() == b.weights();
}

}  // namespace

absl::Status FineTuneAttempt::FinishDryRun() {
  RETURN_IF_ERROR(job_.AddOutput(
      kDatasetFile, kJson, DatasetFile(asked_, *plan_), OutputKind::kResult));
  // It says how much memory was free.
  return job_.AddOutput(kPlanFile, kJson, PlanFile(asked_, *plan_),
                        OutputKind::kNamesRun);
}

absl::Status FineTuneAttempt::Finish() {
  session_.reset();
  if (job_.cancelled() && job_.is_given_up()) {
    return absl::CancelledError("cancelled");
  }
  // These are all steps, also if it stopped early; figures that came after
  // their record are in the curves and the files.
  RETURN_IF_ERROR(job_.Record({.first_index = recorded_steps_,
                               .total_count = recorded_steps_,
                               .unit = "steps",
                               .metrics = MetricsOf(loose_)}));
  RETURN_IF_ERROR(WriteFiles());
  ASSIGN_OR_RETURN(const std::optional<v1::Adapter> adapter, RegisterOutput());
  v1::Provenance provenance = PlanProvenance();
  if (adapter.has_value()) provenance.set_adapter_digest(adapter->digest());
  RETURN_IF_ERROR(job_.SetProvenance({provenance}));
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, job_.Outputs());
  return job_.AddOutput(kManifestFile, kJson,
                        TrainingManifestFile({.spec = spec_,
                                              .job = job_.job(),
                                              .asked = asked_,
                                              .plan = *plan_,
                                              .provenance = provenance,
                                              .history = history_,
                                              .outputs = outputs}),
                        OutputKind::kNamesRun);
}

absl::Status FineTuneAttempt::WriteFiles() {
  struct File {
    absl::string_view name;
    absl::string_view media_type;
    std::string contents;
  };
  const std::array files = {
      File{kDatasetFile, kJson, DatasetFile(asked_, *plan_)},
      File{kStepsFile, "application/jsonl", TrainingStepsFile(history_)},
      File{kChartFile, "application/vnd.vegalite.v5+json",
           TrainingChartFile(history_)},
      File{kSummaryFile, kJson, TrainingSummaryFile(*plan_, *end_, history_)}};
  for (const File& file : files) {
    RETURN_IF_ERROR(job_.AddOutput(file.name, file.media_type, file.contents,
                                   OutputKind::kResult));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::AdapterArtifacts> FineTuneAttempt::OutputArtifacts() {
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, job_.Outputs());
  v1::AdapterArtifacts artifacts;
  for (const v1::JobOutput& output : outputs) {
    if (output.file_name() == kConfigFile) {
      artifacts.set_config(output.artifact());
    }
    if (output.file_name() == kWeightsFile) {
      artifacts.set_weights(output.artifact());
    }
  }
  return artifacts;
}

absl::StatusOr<std::optional<v1::Adapter>> FineTuneAttempt::RegisterOutput() {
  const std::string& name = spec_.output_adapter();
  ASSIGN_OR_RETURN(const v1::AdapterArtifacts artifacts, OutputArtifacts());
  ASSIGN_OR_RETURN(std::optional<v1::Adapter> existing,
                   parts_.registrar.Find(name));
  const bool is_same =
      existing.has_value() && SameFiles(existing->artifacts(), artifacts);
  if (!job_.job().replay_of().empty()) {
    // The name is the first run's.
    if (!is_same) existing.reset();
    RETURN_IF_ERROR(job_.Log("a replay registers no adapter"));
    return existing;
  }
  // It may be from an attempt that ended just after.
  if (existing.has_value() && !is_same && !spec_.replace()) {
    const bool is_own = existing->owner() == job_.job().owner();
    return absl::AlreadyExistsError(absl::StrCat(
        name, " was registered meanwhile by ", is_own ? "you" : "somebody else",
        " with other files and stays as it is; "
        "what was trained is in the job's files: register it under another "
        "name from the artifacts ",
        artifacts.config(), " and ", artifacts.weights()));
  }
  v1::RegisterAdapterRequest request;
  request.set_name(name);
  *request.mutable_artifacts() = artifacts;
  request.set_visibility(spec_.visibility());
  ASSIGN_OR_RETURN(v1::Adapter adapter,
                   parts_.registrar.Register(UserOf(job_.job()), request,
                                             {.spend = &job_.spend()}));
  RETURN_IF_ERROR(job_.Log(absl::StrCat(name, " is registered and loaded")));
  return adapter;
}

}  // namespace dissonance
