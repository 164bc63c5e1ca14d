#include "src/lab/jobs/run_outcome.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_state.h"

namespace dissonance {
namespace {

constexpr absl::string_view kOnRequest = "cancelled on request";

// "INVALID_ARGUMENT: questions.jsonl:7: ...".
std::string Describe(const absl::Status& status) {
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                      status.message());
}

absl::Status EnterCancelled(const absl::Status& result, absl::Time now,
                            JobChange& change) {
  std::string reason(kOnRequest);
  if (!result.ok() && !absl::IsCancelled(result)) {
    absl::StrAppend(&reason, "; while stopping: ", Describe(result));
  }
  return Enter(v1::JOB_STATE_CANCELLED, reason, now, change);
}

absl::Status EnterPaused(absl::string_view why, absl::Time now,
                         JobChange& change) {
  return Enter(v1::JOB_STATE_PAUSED, PauseReason(change.stored.job, why), now,
               change);
}

absl::Status EnterLost(const absl::Status& result, const RunPolicy& policy,
                       absl::Time now, JobChange& change) {
  const int lost = ++change.stored.lost_count;
  if (lost >= policy.max_lost_count) {
    return Enter(
        v1::JOB_STATE_FAILED,
        absl::StrCat("the worker was lost ", lost,
                     " times in a row without an item recorded; the last "
                     "time: ",
                     result.message(),
                     ". See the worker's log, then retry the job"),
        now, change);
  }
  return Enter(v1::JOB_STATE_QUEUED,
               absl::StrCat("the worker was lost (", result.message(),
                            "); the job goes on by itself after item ",
                            change.stored.job.progress().done_count()),
               now, change);
}

}  // namespace

std::string PauseReason(const v1::Job& job, absl::string_view why) {
  return absl::StrCat(why, "; ", job.progress().done_count(),
                      " items were recorded and are kept: ResumeJob goes on "
                      "with the next");
}

absl::Status Enter(v1::JobState state, absl::string_view reason, absl::Time now,
                   JobChange& change) {
  v1::Job& job = change.stored.job;
  RETURN_IF_ERROR(Transition(state, reason, now, job));
  if (state == v1::JOB_STATE_QUEUED) change.stored.queue_time = now;
  change.events.emplace_back().set_state(state);
  if (!reason.empty()) change.events.emplace_back().set_log(job.reason());
  return absl::OkStatus();
}

absl::Status EnterOutcome(const absl::Status& result, const RunPolicy& policy,
                          absl::Time now, JobChange& change) {
  if (change.stored.job.state() == v1::JOB_STATE_CANCELLING) {
    return EnterCancelled(result, now, change);
  }
  if (result.ok()) return Enter(v1::JOB_STATE_SUCCEEDED, "", now, change);
  const bool is_pausing = change.stored.job.state() == v1::JOB_STATE_PAUSING;
  if (is_pausing && absl::IsCancelled(result)) {
    return EnterPaused(kPausedOnRequest, now, change);
  }
  if (is_pausing && absl::IsUnavailable(result)) {
    return EnterPaused(
        absl::StrCat(kPausedOnRequest, ", as the worker was lost (",
                     result.message(), ")"),
        now, change);
  }
  if (!policy.interrupted.empty() &&
      (absl::IsCancelled(result) || absl::IsUnavailable(result))) {
    return EnterInterrupted(policy.interrupted, now, change);
  }
  if (absl::IsUnavailable(result)) {
    return EnterLost(result, policy, now, change);
  }
  if (absl::IsCancelled(result)) {
    RETURN_IF_ERROR(Enter(v1::JOB_STATE_CANCELLING, "", now, change));
    return Enter(v1::JOB_STATE_CANCELLED,
                 absl::StrCat("the run stopped itself: ", result.message()),
                 now, change);
  }
  return Enter(v1::JOB_STATE_FAILED, Describe(result), now, change);
}

absl::Status EnterInterrupted(absl::string_view interrupted, absl::Time now,
                              JobChange& change) {
  const v1::Job& job = change.stored.job;
  if (job.state() == v1::JOB_STATE_CANCELLING) {
    return Enter(v1::JOB_STATE_CANCELLED, kOnRequest, now, change);
  }
  if (job.state() == v1::JOB_STATE_PAUSING) {
    return EnterPaused(kPausedOnRequest, now, change);
  }
  if (job.state() != v1::JOB_STATE_RUNNING) return absl::OkStatus();
  return Enter(v1::JOB_STATE_QUEUED,
               absl::StrCat("resumed after ", interrupted, "; ",
                            job.progress().done_count(),
                            " items were recorded and are kept"),
               now, change);
}

}  // namespace dissonance
