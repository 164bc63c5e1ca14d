// The files of a steering sweep, as bytes, out of its records.
//
// steering.jsonl, steering.csv: one line a setting {absolute_coefficient,
//   belief_interval_95, belief_n, belief_rate, block, coefficient,
//   control_accuracy, control_interval_95, control_n, controls_hold, damage,
//   damage_added, direction, n, phase, positions, returned_interval_95,
//   returned_n, returned_share, site}; the unsteered variant first.
// steering.vl.json: the grid as heat maps of returned share and controls.
// null.csv, null.vl.json: what random directions return at the best setting.
// samples.jsonl: {id, steered, steered_tokens, unsteered, unsteered_tokens};
//   tokens are {projection, text}.
// summary.json: unsteered, best and minimal effective setting, null, gate.
//   "unsteered" is `variant` with its own `interventions`, if it has any,
//   without the sweep's.
//
// Charts are Vega-Lite 5 with their data. Pure functions; thread safe.
//
//   std::vector<JobFile> files = SteeringFiles(outcome);
#ifndef DISSONANCE_LAB_INTERP_STEERING_FILES_H_
#define DISSONANCE_LAB_INTERP_STEERING_FILES_H_

#include <vector>

#include "absl/types/span.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/steering_figures.h"
#include "src/lab/interp/steering_plan.h"
#include "src/lab/interp/steering_record.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {

// All that a sweep recorded. Borrows.
struct SteeringOutcome {
  const SteeringPlan& plan;
  const v1::Variant& variant;
  const SteeringNorms& norms;
  // The unsteered one first.
  const std::vector<SteeringResult>& results;
  const std::vector<SteeringSample>& samples;
};

std::vector<JobFile> SteeringFiles(const SteeringOutcome& outcome);

// The charts, of rows as in steering.jsonl and null.csv.
std::string SteeringChart(absl::Span<const nlohmann::json> rows);
std::string NullChart(absl::Span<const nlohmann::json> rows,
                      const nlohmann::json& best_share,
                      const nlohmann::json& percentile);

// What the manifest says beside files and run.
nlohmann::json SteeringManifest(const v1::SteeringSweepSpec& spec,
                                const SteeringOutcome& outcome,
                                const v1::Provenance& provenance);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_FILES_H_
