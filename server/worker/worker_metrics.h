// What a worker counts, as metrics that travel with its heartbeats. Thread
// safe.
#ifndef DISSONANCE_SERVER_WORKER_WORKER_METRICS_H_
#define DISSONANCE_SERVER_WORKER_WORKER_METRICS_H_

#include <cstdint>
#include <vector>

#include "dissonance/internal/v1/worker.pb.h"
#include "server/worker/train_run.h"
#include "server/worker/weight_residency.h"
#include "src/compute/engine/engine_options.h"

namespace dissonance {

// docs/operations.md lists them.
std::vector<internal::v1::Metric> MetricsOf(const EngineStats& engine,
                                            const ResidencyStats& weights,
                                            int64_t activation_store_bytes,
                                            const TrainingCounts& training);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_WORKER_METRICS_H_
