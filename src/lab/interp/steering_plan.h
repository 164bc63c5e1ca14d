// What a steering sweep tries: its spec, checked, and the settings of its grid.
// Values and pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(SteeringPlan plan, MakeSteeringPlan(spec, model));
//   for (const SteeringSetting& setting : plan.grid) ...
#ifndef DISSONANCE_LAB_INTERP_STEERING_PLAN_H_
#define DISSONANCE_LAB_INTERP_STEERING_PLAN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/interp/vectors.h"

namespace dissonance {

// Why a setting is tried.
enum class SteeringPhase {
  kUnsteered,  // the variant as it is: every figure is compared with it
  kGrid,
  kRefined,  // near the best one so far
  kRandom,   // a random direction at the best setting
};

struct SteeringSetting {
  SteeringPhase phase = SteeringPhase::kUnsteered;
  // Into SteeringPlan::directions; of random ones, which of them.
  int direction = 0;
  int block = 0;
  v1::PositionSet positions = v1::POSITION_SET_ALL;
  double coefficient = 0;  // as asked: relative or absolute

  bool operator==(const SteeringSetting&) const = default;
};

struct SteeringDirection {
  std::string label;
  std::optional<UnitVector> everywhere;  // in every block the same
  std::map<int, UnitVector> by_block;    // else

  // Null if it has none there.
  const UnitVector* At(int block) const;
};

struct SteeringPlan {
  std::vector<McqItem> items;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  std::vector<SteeringDirection> directions;
  v1::Site site = v1::SITE_RESID_POST;
  bool relative = false;
  int null_count = 20;
  int refine_count = 2;
  int sample_count = 4;
  int sample_token_count = 32;
  uint64_t seed = 42;
  double control_tolerance = 0.05;
  std::vector<int> blocks;  // of all directions, ascending
  // The unsteered setting, then by direction, block, positions, coefficient.
  std::vector<SteeringSetting> grid;
};

// Whether a question measures the belief: its false answer is known.
bool MeasuresBelief(const McqItem& item);
// Whether it is a control: no conflict question at all. One whose false answer
// is not known is neither.
bool IsControl(const McqItem& item);

// "unsteered", "grid", "refined", "random".
std::string SteeringPhaseName(SteeringPhase phase);
// "last_prompt", as the command line has it.
std::string PositionSetName(v1::PositionSet positions);

// INVALID_ARGUMENT, naming the field, for a spec that can't be run on the
// model: bad data, no question that measures the belief, a block, vector or
// number out of range.
absl::StatusOr<SteeringPlan> MakeSteeringPlan(const v1::SteeringSweepSpec& spec,
                                              const v1::Model& model);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_PLAN_H_
