// The life of a job, in one place: which state may follow which. Functions are
// thread safe.
#ifndef DISSONANCE_LAB_JOBS_JOB_STATE_H_
#define DISSONANCE_LAB_JOBS_JOB_STATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// Whether a job in this state has ended: SUCCEEDED, FAILED, CANCELLED.
bool HasEnded(v1::JobState state);

// Whether an attempt works on it: RUNNING, PAUSING, CANCELLING.
bool IsUnderWay(v1::JobState state);

// "RUNNING" for JOB_STATE_RUNNING.
std::string StateName(v1::JobState state);

// Moves `job` to `to` for `reason` (may be empty): the only way that a job's
// state changes. Sets start_time when it first runs, end_time when it ends,
// clears end_time when it is queued again, counts an attempt when it starts.
// FAILED_PRECONDITION, with `job` unchanged, unless `to` may follow its state:
//   QUEUED -> RUNNING, CANCELLED, PAUSED
//   WAITING -> QUEUED, FAILED, CANCELLED, PAUSED
//   RUNNING -> SUCCEEDED, FAILED, CANCELLING, QUEUED, PAUSING
//   PAUSING -> PAUSED, CANCELLING, SUCCEEDED, FAILED
//   PAUSED -> QUEUED, WAITING, CANCELLED
//   CANCELLING -> CANCELLED          FAILED, CANCELLED -> QUEUED, WAITING
absl::Status Transition(v1::JobState to, absl::string_view reason,
                        absl::Time now, v1::Job& job);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_STATE_H_
