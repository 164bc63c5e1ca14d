// What becomes of a job when its kind returns, or when the server finds it
// unfinished. Pure decisions over one JobChange; Transition makes the steps.
// Thread safe.
#ifndef DISSONANCE_LAB_JOBS_RUN_OUTCOME_H_
#define DISSONANCE_LAB_JOBS_RUN_OUTCOME_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

// Transition, recorded as an event, with the reason as a log line after it.
absl::Status Enter(v1::JobState state, absl::string_view reason, absl::Time now,
                   JobChange& change);

inline constexpr absl::string_view kPausedOnRequest = "paused on request";

// The reason of a PAUSED job: why, what it has, and how it goes on.
std::string PauseReason(const v1::Job& job, absl::string_view why);

// How a server treats the ends of runs.
struct RunPolicy {
  int max_lost_count = 5;
  // Why the server stopped the run, e.g. "the server stopped"; empty if it did
  // not.
  std::string interrupted = {};
};

// REQUIRES: the attempt is the job's present one.
absl::Status EnterOutcome(const absl::Status& result, const RunPolicy& policy,
                          absl::Time now, JobChange& change);

// Puts a RUNNING job back to QUEUED, a PAUSING one to PAUSED and ends a
// CANCELLING one, because the run was `interrupted` ("the server stopped").
// Others stay as they are.
absl::Status EnterInterrupted(absl::string_view interrupted, absl::Time now,
                              JobChange& change);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_RUN_OUTCOME_H_
