// A Score request as work for the engine: what is encoded, which sequences it
// takes, and how their results become the response. Values; thread safe.
//
//   ASSIGN_OR_RETURN(ScorePlan plan, MakeScorePlan(request, registry, limits));
//   for (const ScoreTaskPlace& place : plan.Tasks())
//     engine.SubmitScore(plan.VariantOf(place), plan.TaskOf(place), ...);
#ifndef DISSONANCE_SERVER_WORKER_SCORE_PLAN_H_
#define DISSONANCE_SERVER_WORKER_SCORE_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/inference.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompt_text.h"
#include "server/worker/score_items.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

struct PlannedVariant {
  ResolvedVariant network;
  // Dropout samples to compute: 1 where all samples are equal.
  int computed_samples = 1;
  // Shared by variants of the same model.
  std::shared_ptr<const EncodedItems> items;
};

// One sequence of the plan.
struct ScoreTaskPlace {
  int variant = 0;
  int item = 0;
  int sample = 0;
  int group = 0;
};

struct ScorePlan {
  std::vector<PlannedVariant> variants;
  int sample_count = 1;
  bool has_dropout = false;
  uint64_t dropout_seed = 0;
  std::string input_digest;

  // All sequences, by variant, item, sample and group.
  std::vector<ScoreTaskPlace> Tasks() const;
  const EncodedItem& ItemOf(const ScoreTaskPlace& place) const {
    return (*variants[place.variant].items)[place.item];
  }
  const ScoreTask& TaskOf(const ScoreTaskPlace& place) const {
    return ItemOf(place).groups[place.group].task;
  }
  // "items[6] (q17)", without the id where the item has none.
  std::string ItemLabel(const ScoreTaskPlace& place) const;
  EngineVariant VariantOf(const ScoreTaskPlace& place) const;
};

// Looks up, checks and encodes everything. Errors name the field, as in
// "items[3].continuations[0]: ...". CANCELLED once `cancelled` says so.
absl::StatusOr<ScorePlan> MakeScorePlan(const v1::ScoreRequest& request,
                                        ModelRegistry& registry,
                                        const RequestLimits& limits,
                                        const Cancelled& cancelled);

// The response by variant, item and sample. `results` are those of
// plan.Tasks(), in that order. `engine` is what they were computed with.
v1::ScoreResponse MakeScoreResponse(const ScorePlan& plan,
                                    absl::Span<const ScoreResult> results,
                                    const EngineOptions& engine);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_SCORE_PLAN_H_
