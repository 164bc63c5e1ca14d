// The points of an evaluation at which a crash must lose nothing, beside those
// of every job (src/lab/jobs/failpoints.h). Crash tests iterate over them.
#ifndef DISSONANCE_LAB_EVAL_MCQ_FAILPOINTS_H_
#define DISSONANCE_LAB_EVAL_MCQ_FAILPOINTS_H_

#include <array>

#include "absl/strings/string_view.h"

namespace dissonance {

// | name                | reached                                            |
// |---------------------|----------------------------------------------------|
// | eval.batch_scored   | a batch is computed, nothing of it is recorded     |
// | eval.items_recorded | the batch is recorded, the next one has not begun  |
// | eval.before_outputs | all is recorded, no file is written                |
// | eval.output_added   | a file is written, further ones may be missing     |
inline constexpr absl::string_view kFailpointBatchScored = "eval.batch_scored";
inline constexpr absl::string_view kFailpointBatchRecorded =
    "eval.items_recorded";
inline constexpr absl::string_view kFailpointBeforeOutputs =
    "eval.before_outputs";
inline constexpr absl::string_view kFailpointOutputAdded = "eval.output_added";

inline constexpr std::array kMcqFailpoints = {
    kFailpointBatchScored, kFailpointBatchRecorded, kFailpointBeforeOutputs,
    kFailpointOutputAdded};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_FAILPOINTS_H_
