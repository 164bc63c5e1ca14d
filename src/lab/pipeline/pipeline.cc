#include "src/lab/pipeline/pipeline.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/pipeline/pipeline_attempt.h"
#include "src/lab/pipeline/pipeline_plan.h"
#include "src/lab/pipeline/stage_fields.h"

namespace dissonance {

absl::Status Pipeline::Validate(const v1::JobSpec& spec) {
  if (!spec.has_pipeline()) {
    return absl::InvalidArgumentError("spec.kind: expected pipeline");
  }
  ASSIGN_OR_RETURN(const std::vector<PlannedStage> stages,
                   PlanPipeline(spec.pipeline()));
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].stage.inputs_size() > 0) continue;
    v1::JobSpec asked = stages[i].stage.spec();
    for (const size_t need : stages[i].needs) {
      if (stages[need].output_adapter.empty()) continue;
      StandInFor(stages[need].output_adapter, asked);
    }
    RETURN_IF_ERROR(Annotate(jobs_.Check(asked),
                             absl::StrCat("pipeline.stages[", i, "] (",
                                          stages[i].stage.name(), ")")));
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
