#include "client/cli/job_watch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "client/cli/detached.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr absl::Duration kSecondInterrupt = absl::Seconds(3);
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLongestBackoff = absl::Seconds(5);
constexpr absl::Duration kPatience = absl::Minutes(1);

constexpr char kFailedPrecondition[] = "FAILED_PRECONDITION: ";

// Whether a job failed for what it was asked, as its reason begins with the
// code: the same again fails again. A pipeline says itself what helps.
bool IsOfTheSpec(const v1::Job& job) {
  const absl::string_view reason = job.reason();
  return absl::StartsWith(reason, "INVALID_ARGUMENT: ") ||
         absl::StartsWith(reason, "OUT_OF_RANGE: ") ||
         absl::StartsWith(reason, "UNIMPLEMENTED: ") ||
         (job.spec().has_pipeline() &&
          absl::StartsWith(reason, kFailedPrecondition));
}

}  // namespace

JobWatcher::JobWatcher(Connection& connection, Interrupts& interrupts,
                       ProgressDisplay& display,
                       std::function<void(const v1::JobEvent&)> on_event)
    : connection_(connection),
      interrupts_(interrupts),
      display_(display),
      on_event_(std::move(on_event)) {}

void JobWatcher::Show(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kState:
      state_ = event.state();
      display_.Line(absl::StrCat("state: ", EnumWord(event.state()),
                                 event.state() == v1::JOB_STATE_PAUSED
                                     ? "; it goes on with: dissonance jobs "
                                       "resume"
                                     : ""));
      break;
    case v1::JobEvent::kProgress:
      display_.Update(event.progress());
      break;
    case v1::JobEvent::kLog:
      // Why it failed is what StatusOfEnded says.
      if (state_ != v1::JOB_STATE_FAILED) display_.Line(event.log());
      break;
    case v1::JobEvent::kMetrics:
      curves_.Add(event.metrics());
      display_.SetNote(curves_.Note());
      break;
    case v1::JobEvent::kOutput:
    case v1::JobEvent::EVENT_NOT_SET:
      break;
  }
  if (on_event_) on_event_(event);
}

JobWatcher::StreamEnd JobWatcher::Follow(const std::string& name) {
  StreamEnd end;
  const std::unique_ptr<grpc::ClientContext> context = connection_.NewContext();
  v1::WatchJobRequest request;
  request.set_name(name);
  request.set_after_event_number(cursor_);
  end.interrupted = interrupts_.During(
      [&] { context->TryCancel(); },
      [&] {
        const auto reader =
            connection_.stub<v1::Jobs::Stub>().WatchJob(context.get(), request);
        v1::WatchJobResponse response;
        while (reader->Read(&response)) {
          end.progressed = true;
          if (response.has_job()) {
            job_ = response.job();
            end.complete = true;
          } else if (response.event().number() > cursor_) {
            cursor_ = response.event().number();
            Show(response.event());
          }
        }
        end.status = connection_.Explain(reader->Finish());
      });
  return end;
}

absl::Status JobWatcher::Detach(const std::string& name) {
  display_.Finish();
  const std::string short_name = ShortName(name);
  display_.Line(
      absl::StrCat(name, " goes on; press Ctrl-C again to cancel it"));
  if (!interrupts_.Wait(kSecondInterrupt)) {
    return WithHint(
        DetachedFrom(name),
        absl::StrCat("watch it again with: dissonance jobs watch ", short_name,
                     "; get its files with: dissonance jobs fetch ", short_name,
                     " --out DIR"));
  }
  v1::CancelJobRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(
      connection_.Call(&v1::Jobs::Stub::CancelJob, request).status());
  return WithHint(absl::CancelledError(absl::StrCat(name, " was cancelled")),
                  absl::StrCat("what it has recorded is kept; go on with: "
                               "dissonance jobs retry ",
                               ShortName(name)));
}

absl::StatusOr<v1::Job> JobWatcher::Watch(const std::string& name,
                                          int64_t after_event_number) {
  cursor_ = after_event_number;
  absl::Duration backoff = kFirstBackoff;
  absl::Time last_sign = absl::Now();
  while (true) {
    const StreamEnd end = Follow(name);
    if (end.complete) {
      display_.Finish();
      return job_;
    }
    if (end.interrupted) return Detach(name);
    // A stream that ends well without the job's last message was cut short.
    if (!end.status.ok() && !absl::IsUnavailable(end.status)) {
      display_.Finish();
      return end.status;
    }
    if (end.progressed) {
      backoff = kFirstBackoff;
      last_sign = absl::Now();
    } else if (absl::Now() - last_sign > kPatience) {
      display_.Finish();
      return WithHint(
          absl::UnavailableError(absl::StrCat(
              "lost the server at ", connection_.address(), " for ",
              HumanDuration(kPatience), ": ", end.status.message())),
          absl::StrCat("the job is recorded and goes on when the server is "
                       "back; then: dissonance jobs watch ",
                       ShortName(name),
                       ", and for its files: dissonance jobs "
                       "fetch ",
                       ShortName(name), " --out DIR"));
    }
    if (backoff == kFirstBackoff) {
      display_.Line("lost the server; connecting again");
    }
    if (interrupts_.Wait(backoff)) return Detach(name);
    backoff = std::min(backoff * 2, kLongestBackoff);
  }
}

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

absl::Status StatusOfEnded(const v1::Job& job) {
  if (job.state() == v1::JOB_STATE_SUCCEEDED) return absl::OkStatus();
  const std::string reason =
      job.reason().empty() ? "" : absl::StrCat(": ", job.reason());
  const bool is_to_be_mended =
      absl::StartsWith(job.reason(), kFailedPrecondition);
  std::string retry =
      absl::StrCat("what it has recorded is kept; ",
                   is_to_be_mended ? "once that is mended, " : "",
                   "go on with: dissonance jobs retry ", ShortName(job.name()));
  if (!job.outputs().empty()) {
    absl::StrAppend(&retry, "; get its files with: dissonance jobs fetch ",
                    ShortName(job.name()), " --out DIR");
  }
  const absl::Status failed =
      absl::AbortedError(absl::StrCat(job.name(), " failed", reason));
  if (job.state() == v1::JOB_STATE_FAILED && IsOfTheSpec(job)) {
    return failed;
  }
  if (job.state() == v1::JOB_STATE_CANCELLED) {
    return WithHint(absl::CancelledError(
                        absl::StrCat(job.name(), " was cancelled", reason)),
                    retry);
  }
  return WithHint(failed, retry);
}

}  // namespace dissonance::cli
