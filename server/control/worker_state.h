// The life of a worker as the supervisor sees it: one enum (v1::WorkerState),
// one transition function. Thread safe.
//
//   STOPPED -launch-> STARTING -ready-> READY -end-> BACKING_OFF -launch-> ...
//                     STARTING -end-> BACKING_OFF;   any -stop-> STOPPED
//                     READY -lose-> STARTING: what launched it runs it again
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_STATE_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_STATE_H_

#include "absl/status/statusor.h"
#include "dissonance/v1/admin.pb.h"

namespace dissonance {

enum class WorkerEvent {
  kLaunch,  // its process is about to be started
  kReady,   // it registered and holds its models again
  kLose,    // its lease is over, though what launched it may run it again
  kEnd,     // its process ended, or could not be started
  kStop,    // the server stops
};

// The state that follows; FAILED_PRECONDITION for an event that cannot happen
// in `state`.
absl::StatusOr<v1::WorkerState> NextWorkerState(v1::WorkerState state,
                                                WorkerEvent event);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_STATE_H_
