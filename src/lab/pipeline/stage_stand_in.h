// What can be checked of a stage before those that it takes something of have
// run: its spec with what can be known of their results in their place. Pure
// functions; thread safe.
//
//   const auto asked = StandInSpec(stages, i, [&](const std::string& name) {
//     return jobs.GetModel(name);
//   });
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_STAND_IN_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_STAND_IN_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/pipeline/pipeline_plan.h"

namespace dissonance {

using ModelByName =
    absl::FunctionRef<absl::StatusOr<v1::Model>(const std::string& name)>;

// The base for adapters that are yet to be made; for the activations of a stage
// its prompts and networks; for a direction vectors at the places where it will
// have some. nullopt where too little is known, as where rows are written by
// another stage. Fails as `model` does.
absl::StatusOr<std::optional<v1::JobSpec>> StandInSpec(
    absl::Span<const PlannedStage> stages, size_t index, ModelByName model);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_STAND_IN_H_
