// What a patch sweep patches: its spec, checked. Values and pure functions;
// thread safe.
//
//   ASSIGN_OR_RETURN(PatchPlan plan, MakePatchPlan(spec, model));
#ifndef DISSONANCE_LAB_INTERP_PATCH_PLAN_H_
#define DISSONANCE_LAB_INTERP_PATCH_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/interp/prompt_set.h"

namespace dissonance {

// One way of patching a prompt: whose rows go where, and how the effect is
// found.
struct PatchRun {
  bool reversed = false;  // target's rows into the source
  v1::PatchMethod method = v1::PATCH_METHOD_EXACT;

  bool operator==(const PatchRun&) const = default;
};

struct PatchPlan {
  PromptSet prompts;  // of questions those whose answers are both known
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  // All that is asked but variants, input, positions and method.
  v1::PatchRequest request;
  // Unset: the last 8 of each prompt.
  v1::Positions positions;
  std::vector<PatchRun> runs;  // of each prompt
  // Whose map is drawn.
  v1::PatchMethod main_method = v1::PATCH_METHOD_EXACT;
};

// "source_to_target", "target_to_source"; "exact", "attribution".
std::string PatchDirectionName(bool reversed);
std::string PatchMethodName(v1::PatchMethod method);

// INVALID_ARGUMENT, naming the field, for a spec that can't be run on the
// model.
absl::StatusOr<PatchPlan> MakePatchPlan(const v1::PatchSweepSpec& spec,
                                        const v1::Model& model);

// The positions of a prompt of so many tokens.
v1::Positions PatchPositions(const PatchPlan& plan, int token_count);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PATCH_PLAN_H_
