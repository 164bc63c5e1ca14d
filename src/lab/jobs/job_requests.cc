#include "src/lab/jobs/job_requests.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/jobs/run_outcome.h"

namespace dissonance {
namespace {

absl::Status Refusal(const v1::Job& job, absl::string_view what_to_do) {
  return absl::FailedPreconditionError(absl::StrCat(
      job.name(), " is ", StateName(job.state()), " and ", what_to_do));
}

// To the queue, or to wait for those that it depends on.
absl::Status EnterQueue(absl::string_view reason, absl::Time now,
                        JobChange& change) {
  change.stored.lost_count = 0;
  return Enter(change.stored.job.depends_on().empty() ? v1::JOB_STATE_QUEUED
                                                      : v1::JOB_STATE_WAITING,
               reason, now, change);
}

}  // namespace

absl::Status CancelOnRequest(JobChange& change, absl::Time now) {
  switch (change.stored.job.state()) {
    case v1::JOB_STATE_CANCELLING:
      return absl::OkStatus();
    case v1::JOB_STATE_RUNNING:
    case v1::JOB_STATE_PAUSING:
      return Enter(v1::JOB_STATE_CANCELLING, "", now, change);
    default:
      return Enter(v1::JOB_STATE_CANCELLED, "cancelled on request", now,
                   change);
  }
}

absl::Status PauseOnRequest(JobChange& change, absl::Time now) {
  const v1::Job& job = change.stored.job;
  switch (job.state()) {
    case v1::JOB_STATE_PAUSING:
    case v1::JOB_STATE_PAUSED:
      return absl::OkStatus();
    case v1::JOB_STATE_RUNNING:
      return Enter(v1::JOB_STATE_PAUSING, "", now, change);
    case v1::JOB_STATE_QUEUED:
    case v1::JOB_STATE_WAITING:
      return Enter(v1::JOB_STATE_PAUSED, PauseReason(job, kPausedOnRequest),
                   now, change);
    default:
      return Refusal(job, "cannot be paused: only what is still to run can");
  }
}

absl::Status ResumeOnRequest(JobChange& change, absl::Time now) {
  const v1::Job& job = change.stored.job;
  if (job.state() == v1::JOB_STATE_PAUSED) {
    return EnterQueue("resumed on request", now, change);
  }
  if (HasEnded(job.state())) {
    return Refusal(job, "cannot be resumed: retry or replay it");
  }
  return Refusal(job, "cannot be resumed: only a PAUSED job can");
}

absl::Status RetryOnRequest(JobChange& change, absl::Time now) {
  const v1::Job& job = change.stored.job;
  if (job.state() == v1::JOB_STATE_PAUSED) {
    return Refusal(job, "cannot be retried: resume it");
  }
  if (!HasEnded(job.state())) {
    return Refusal(job,
                   "cannot be retried: wait for its end, or cancel it first");
  }
  return EnterQueue("retried on request", now, change);
}

}  // namespace dissonance
