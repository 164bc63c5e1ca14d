#include "server/control/worker_state.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dissonance {

absl::StatusOr<v1::WorkerState> NextWorkerState(v1::WorkerState state,
                                                WorkerEvent event) {
  switch (event) {
    case WorkerEvent::kLaunch:
      if (state == v1::WORKER_STATE_STOPPED ||
          state == v1::WORKER_STATE_BACKING_OFF) {
        return v1::WORKER_STATE_STARTING;
      }
      break;
    case WorkerEvent::kReady:
      if (state == v1::WORKER_STATE_STARTING) return v1::WORKER_STATE_READY;
      break;
    case WorkerEvent::kLose:
      if (state == v1::WORKER_STATE_READY) return v1::WORKER_STATE_STARTING;
      break;
    case WorkerEvent::kEnd:
      if (state == v1::WORKER_STATE_STARTING ||
          state == v1::WORKER_STATE_READY) {
        return v1::WORKER_STATE_BACKING_OFF;
      }
      break;
    case WorkerEvent::kStop:
      return v1::WORKER_STATE_STOPPED;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("a worker that is ", v1::WorkerState_Name(state),
                   " cannot have event ", static_cast<int>(event)));
}

}  // namespace dissonance
