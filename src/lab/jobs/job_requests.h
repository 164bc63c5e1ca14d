// What a user's request makes of a job: pure decisions over one JobChange, as
// run_outcome.h has them for the ends of runs. FAILED_PRECONDITION, saying what
// to do instead, where the job's state does not allow it. Thread safe.
//
//   store.Update(name, now, [now](JobChange& change) {
//     return PauseOnRequest(change, now);
//   });
#ifndef DISSONANCE_LAB_JOBS_JOB_REQUESTS_H_
#define DISSONANCE_LAB_JOBS_JOB_REQUESTS_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

// CANCELLING if an attempt works on it, else CANCELLED.
absl::Status CancelOnRequest(JobChange& change, absl::Time now);

// PAUSING if an attempt works on it, else PAUSED. One that is either stays.
absl::Status PauseOnRequest(JobChange& change, absl::Time now);

// From PAUSED: QUEUED, or WAITING where it depends on others.
absl::Status ResumeOnRequest(JobChange& change, absl::Time now);

// From FAILED or CANCELLED: likewise.
absl::Status RetryOnRequest(JobChange& change, absl::Time now);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_REQUESTS_H_
