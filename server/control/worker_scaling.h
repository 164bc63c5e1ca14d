// How many workers run: one more while jobs wait and all that run are busy, one
// less when it has been idle for long and no job waits. A pure function, asked
// again and again.
//
//   const ScalingStep step = NextScalingStep(loads, queued_jobs, options);
//   if (step.launch.has_value()) supervisors[*step.launch]->SetWanted(true);
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_SCALING_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_SCALING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace dissonance {

struct ScalingOptions {
  size_t least = 1;                // run always
  absl::Duration idle_limit = {};  // without a call before one ends
};

// A worker as it is now.
struct WorkerLoad {
  bool wanted = false;  // runs, or is on its way
  bool ready = false;
  int call_count = 0;
  absl::Duration idle = {};  // since its last call
};

// At most one of both.
struct ScalingStep {
  std::optional<size_t> launch = {};
  std::optional<size_t> end = {};
};

ScalingStep NextScalingStep(const std::vector<WorkerLoad>& workers,
                            int64_t queued_jobs, const ScalingOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_SCALING_H_
