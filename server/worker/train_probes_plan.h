// What one TrainProbes request asks for. Values; thread safe.
#ifndef DISSONANCE_SERVER_WORKER_TRAIN_PROBES_PLAN_H_
#define DISSONANCE_SERVER_WORKER_TRAIN_PROBES_PLAN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/probes.pb.h"
#include "server/worker/training_budget.h"
#include "server/worker/variant_rows.h"
#include "src/compute/probe/probe_plan.h"

namespace dissonance {

// A request, looked up, checked and encoded, with the memory that it needs.
struct TrainProbesPlan {
  // Rows to capture; unset if the request brings them.
  std::optional<VariantRowsPlan> rows;
  RowMatrices given;
  // Of both: where, and how inputs are called.
  std::vector<v1::SiteRef> places;
  std::vector<std::string> labels;
  at::ScalarType dtype = at::kFloat;
  std::shared_ptr<const ProbePlan> probes;
  int64_t places_at_once = 1;
  int64_t component_count = 0;
  std::string digest;  // of the request; empty if it brings the rows
  TrainingBudget::Lease lease;
};

// Errors name the field, and input and place of a given row that is not
// finite. RESOURCE_EXHAUSTED, with figures, if rows and fits do not fit into
// the budget, which outlives the plan.
absl::StatusOr<TrainProbesPlan> MakeTrainProbesPlan(
    const v1::TrainProbesRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, TrainingBudget& budget,
    const Cancelled& cancelled);

// "resid_post of block 3".
std::string PlaceLabel(const v1::SiteRef& place);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAIN_PROBES_PLAN_H_
