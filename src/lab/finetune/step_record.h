// One optimizer step of a running training, as it is recorded, with the
// validations and evaluations that were known by then. Doubles survive the text
// bit for bit. Values and pure functions; thread safe.
//
//   std::string stored = EncodeStep(record);
//   ASSIGN_OR_RETURN(StepRecord same, DecodeStep(stored, "item 0"));
#ifndef DISSONANCE_LAB_FINETUNE_STEP_RECORD_H_
#define DISSONANCE_LAB_FINETUNE_STEP_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/internal/v1/training.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/finetune/belief_evaluation.h"

namespace dissonance {

struct StepRecord {
  internal::v1::TrainingStep step;
  // Mostly of this step; what came before the first step is in its record.
  std::vector<internal::v1::TrainingValidation> validations;
  std::vector<BeliefFigures> evaluations;
  // Of the first step: TrainingPlan.digest.
  std::string plan_digest;
};

std::string EncodeStep(const StepRecord& record);

// DATA_LOSS, beginning with `where`, if the text is not a record.
absl::StatusOr<StepRecord> DecodeStep(absl::string_view text,
                                      absl::string_view where);

// How the step differs from one that was computed before; empty if the two are
// equal in every bit. Times do not count.
std::string StepDifference(const internal::v1::TrainingStep& before,
                           const internal::v1::TrainingStep& now);

// The curves' points of one record: its step's, if it has one, and of other
// steps if it has figures of them.
std::vector<v1::MetricPoint> MetricsOf(const StepRecord& record);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_STEP_RECORD_H_
