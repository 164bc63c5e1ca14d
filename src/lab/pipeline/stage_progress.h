// How far a pipeline's stages are, as the unit of its progress: "stages (train
// 378/700 steps)". Pure; thread safe.
//
//   std::string unit = UnitWithProgress({{"train", &job}});
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_PROGRESS_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_PROGRESS_H_

#include <string>
#include <vector>

#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

inline constexpr char kStagesUnit[] = "stages";

struct NamedJob {
  std::string stage;
  const v1::Job* job = nullptr;
};

// Those that have recorded something so far; kStagesUnit if none has.
std::string UnitWithProgress(const std::vector<NamedJob>& under_way);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_PROGRESS_H_
