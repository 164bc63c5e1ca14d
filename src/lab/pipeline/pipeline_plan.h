// A pipeline's stages, checked: which wait for which. Pure; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<PlannedStage> stages, PlanPipeline(spec));
#ifndef DISSONANCE_LAB_PIPELINE_PIPELINE_PLAN_H_
#define DISSONANCE_LAB_PIPELINE_PIPELINE_PLAN_H_

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

struct PlannedStage {
  v1::PipelineStage stage;
  std::set<size_t> needs = {};      // stages that have to succeed first
  std::string output_adapter = {};  // of a fine_tune stage; else empty
};

// By the spec's order. INVALID_ARGUMENT, with the field's path: no stages or
// too many, a bad or repeated name, a spec that is unset or a pipeline itself,
// an input that does not fit its field, a stage that does not exist, a gate
// that does not judge such a job, an adapter that two stages make, stages that
// wait for one another.
absl::StatusOr<std::vector<PlannedStage>> PlanPipeline(
    const v1::PipelineSpec& spec);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_PIPELINE_PLAN_H_
