#include "src/lab/jobs/job_state.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "src/lab/jobs/event_text.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

bool MayFollow(v1::JobState from, v1::JobState to) {
  switch (from) {
    case v1::JOB_STATE_QUEUED:
      return to == v1::JOB_STATE_RUNNING || to == v1::JOB_STATE_CANCELLED ||
             to == v1::JOB_STATE_PAUSED;
    case v1::JOB_STATE_WAITING:
      return to == v1::JOB_STATE_QUEUED || to == v1::JOB_STATE_FAILED ||
             to == v1::JOB_STATE_CANCELLED || to == v1::JOB_STATE_PAUSED;
    case v1::JOB_STATE_RUNNING:
      return to == v1::JOB_STATE_SUCCEEDED || to == v1::JOB_STATE_FAILED ||
             to == v1::JOB_STATE_CANCELLING || to == v1::JOB_STATE_QUEUED ||
             to == v1::JOB_STATE_PAUSING;
    case v1::JOB_STATE_PAUSING:
      return to == v1::JOB_STATE_PAUSED || to == v1::JOB_STATE_CANCELLING ||
             to == v1::JOB_STATE_SUCCEEDED || to == v1::JOB_STATE_FAILED;
    case v1::JOB_STATE_PAUSED:
      return to == v1::JOB_STATE_QUEUED || to == v1::JOB_STATE_WAITING ||
             to == v1::JOB_STATE_CANCELLED;
    case v1::JOB_STATE_CANCELLING:
      return to == v1::JOB_STATE_CANCELLED;
    case v1::JOB_STATE_FAILED:
    case v1::JOB_STATE_CANCELLED:
      return to == v1::JOB_STATE_QUEUED || to == v1::JOB_STATE_WAITING;
    default:
      return false;
  }
}

}  // namespace

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

bool IsUnderWay(v1::JobState state) {
  return state == v1::JOB_STATE_RUNNING || state == v1::JOB_STATE_PAUSING ||
         state == v1::JOB_STATE_CANCELLING;
}

std::string StateName(v1::JobState state) {
  return std::string(absl::StripPrefix(v1::JobState_Name(state), "JOB_STATE_"));
}

absl::Status Transition(v1::JobState to, absl::string_view reason,
                        absl::Time now, v1::Job& job) {
  if (!MayFollow(job.state(), to)) {
    return absl::FailedPreconditionError(
        absl::StrCat(job.name(), " is ", StateName(job.state()),
                     " and cannot become ", StateName(to)));
  }
  const auto timestamp =
      TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(now));
  job.set_state(to);
  job.set_reason(EventText(reason));
  if (to == v1::JOB_STATE_RUNNING) {
    job.set_attempt_count(job.attempt_count() + 1);
    job.mutable_progress()->set_rate(0);
    if (!job.has_start_time()) *job.mutable_start_time() = timestamp;
  }
  if (HasEnded(to)) {
    *job.mutable_end_time() = timestamp;
  } else {
    job.clear_end_time();
  }
  return absl::OkStatus();
}

}  // namespace dissonance
