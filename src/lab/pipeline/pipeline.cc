#include "src/lab/pipeline/pipeline.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/pipeline/pipeline_attempt.h"
#include "src/lab/pipeline/pipeline_plan.h"
#include "src/lab/pipeline/stage_stand_in.h"

namespace dissonance {

absl::Status Pipeline::Validate(const v1::JobSpec& spec) {
  if (!spec.has_pipeline()) {
    return absl::InvalidArgumentError("spec.kind: expected pipeline");
  }
  ASSIGN_OR_RETURN(const std::vector<PlannedStage> stages,
                   PlanPipeline(spec.pipeline()));
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string where =
        absl::StrCat("pipeline.stages[", i, "] (", stages[i].stage.name(), ")");
    const absl::StatusOr<std::optional<v1::JobSpec>> asked = StandInSpec(
        stages, i,
        [this](const std::string& model) { return jobs_.GetModel(model); });
    RETURN_IF_ERROR(Annotate(asked.status(), where));
    if (!asked->has_value()) continue;
    RETURN_IF_ERROR(Annotate(jobs_.Check(**asked), where));
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(std::vector<PlannedStage> stages,
                   PlanPipeline(spec.pipeline()));
  PipelineAttempt attempt(
      {.jobs = jobs_, .job = job, .release = release_, .clock = clock_},
      spec.pipeline(), std::move(stages));
  return attempt.Run();
}

}  // namespace dissonance
