// How a control plane tells what a worker itself answered from what the
// transport says when the worker is gone: UNAVAILABLE is either. It is the
// status' error details.
#ifndef DISSONANCE_BASE_WORKER_DETAILS_H_
#define DISSONANCE_BASE_WORKER_DETAILS_H_

namespace dissonance {

inline constexpr char kWorkerDetails[] = "dissonance-worker";

}  // namespace dissonance

#endif  // DISSONANCE_BASE_WORKER_DETAILS_H_
