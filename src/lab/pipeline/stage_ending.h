// What a pipeline says of a stage that ended it, and what helps then. Pure
// functions; thread safe.
//
//   if (HasEnded(job.state())) return StageEnded("mcq", job);
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_ENDING_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_ENDING_H_

#include <string>

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// Whether the same will be refused again: it lies in what was asked.
bool IsOfTheSpec(const absl::Status& status);

// The status of a stage that could not begin, with the stage's name and, if it
// lies in what was asked, what to do.
absl::Status WithAdvice(const std::string& stage, const absl::Status& status);

// Of a stage whose job failed or was cancelled: FAILED_PRECONDITION where only
// a changed pipeline can go on, ABORTED where the same may succeed.
absl::Status StageEnded(const std::string& stage, const v1::Job& job);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_ENDING_H_
