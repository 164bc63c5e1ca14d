#include "server/control/worker_scaling.h"

namespace dissonance {

ScalingStep NextScalingStep(const std::vector<WorkerLoad>& workers,
                            int64_t queued_jobs,
                            const ScalingOptions& options) {
  std::optional<size_t> first_at_rest;
  std::optional<size_t> last_idle;
  size_t wanted_count = 0;
  bool all_busy = true;
  for (size_t i = 0; i < workers.size(); ++i) {
    const WorkerLoad& worker = workers[i];
    if (!worker.wanted) {
      if (!first_at_rest.has_value()) first_at_rest = i;
      continue;
    }
    ++wanted_count;
    // One that is on its way will take work.
    if (!worker.ready || worker.call_count == 0) all_busy = false;
    if (worker.ready && worker.call_count == 0 &&
        worker.idle >= options.idle_limit) {
      last_idle = i;
    }
  }
  const bool is_short = wanted_count < options.least;
  if (is_short || (queued_jobs > 0 && all_busy)) {
    return {.launch = first_at_rest};
  }
  if (queued_jobs > 0 || wanted_count == options.least) return {};
  return {.end = last_idle};
}

}  // namespace dissonance
