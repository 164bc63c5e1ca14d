// What the control plane counts, for Prometheus: jobs, users, calls, disk.
// Thread safe. Borrows the records.
#ifndef DISSONANCE_SERVER_CONTROL_CONTROL_FIGURES_H_
#define DISSONANCE_SERVER_CONTROL_CONTROL_FIGURES_H_

#include <cstdint>
#include <vector>

#include "server/control/metrics_server.h"
#include "server/control/records.h"

namespace dissonance {

struct ControlCounts {
  int64_t running_jobs = 0;  // that a thread works on
  int64_t calls = 0;         // in flight
};

// What cannot be read just now is left out.
std::vector<MetricFamily> ControlFigures(Records& records,
                                         const ControlCounts& counts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CONTROL_FIGURES_H_
