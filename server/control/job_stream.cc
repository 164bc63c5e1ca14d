#include "server/control/job_stream.h"

#include <utility>

#include "server/control/grpc_status.h"
#include "src/base/log.h"

namespace dissonance {

template <typename Response>
JobStream<Response>::JobStream(JobManager& jobs, OpenCalls& calls,
                               JobStreamOptions options)
    : jobs_(jobs),
      calls_(calls),
      options_(std::move(options)),
      after_(options_.after_event_number) {}

template <typename Response>
void JobStream<Response>::Start(const std::shared_ptr<JobStream>& self,
                                const Response& first) {
  self_ = self;
  {
    // Before events can come: it is the first message.
    const absl::MutexLock lock(&mutex_);
    if (first.has_job()) pending_.push_back(first);
  }
  absl::StatusOr<std::unique_ptr<EventSubscription>> subscription =
      jobs_.Subscribe(options_.owner, options_.job, [this] { Pump(); });
  {
    const absl::MutexLock lock(&mutex_);
    if (subscription.ok()) {
      subscription_ = *std::move(subscription);
    } else {
      has_end_ = true;
      end_ = subscription.status();
    }
  }
  // A weak hold: the list's entry must not keep the stream, nor be the last to
  // let it go.
  open_ = calls_.Add(options_.token, [weak = std::weak_ptr<JobStream>(self)](
                                         const absl::Status& status) {
    if (const auto stream = weak.lock()) stream->End(status);
  });
  {
    const absl::MutexLock lock(&mutex_);
    is_started_ = true;
  }
  Pump();
}

template <typename Response>
void JobStream<Response>::ReadMore() {
  absl::StatusOr<JobEvents> news =
      jobs_.ReadEvents(options_.owner, options_.job, after_);
  if (!news.ok()) {
    has_end_ = true;
    end_ = news.status();
    return;
  }
  for (v1::JobEvent& event : news->events) {
    after_ = event.number();
    *pending_.emplace_back().mutable_event() = std::move(event);
  }
  if (news->ended_job.has_value()) {
    *pending_.emplace_back().mutable_job() = *std::move(news->ended_job);
    has_end_ = true;
  }
}

template <typename Response>
void JobStream<Response>::Pump() {
  bool finishes = false;
  grpc::Status end;
  {
    const absl::MutexLock lock(&mutex_);
    if (!is_started_ || is_writing_ || is_finished_) return;
    if (pending_.empty() && !has_end_) ReadMore();
    const bool is_failed = has_end_ && !end_.ok();
    if (!pending_.empty() && !is_failed) {
      writing_ = std::move(pending_.front());
      pending_.pop_front();
      is_writing_ = true;
    } else if (has_end_) {
      is_finished_ = finishes = true;
      end = ToGrpc(end_);
    } else {
      return;
    }
  }
  // Outside the lock: both may come back to this object at once. The flag that
  // was set keeps everybody else out.
  if (finishes) {
    this->Finish(end);
  } else {
    this->StartWrite(&writing_);
  }
}

template <typename Response>
void JobStream<Response>::End(const absl::Status& status) {
  {
    const absl::MutexLock lock(&mutex_);
    has_end_ = true;
    end_ = status;
  }
  Pump();
}

template <typename Response>
void JobStream<Response>::OnWriteDone(bool ok) {
  {
    const absl::MutexLock lock(&mutex_);
    is_writing_ = false;
  }
  if (!ok) return End(absl::CancelledError("the client went away"));
  Pump();
}

template <typename Response>
void JobStream<Response>::OnCancel() {
  if (options_.cancel_on_disconnect) {
    const absl::Status cancelled =
        jobs_.Cancel(options_.owner, options_.job).status();
    if (!cancelled.ok()) {
      Log(LogLevel::kInfo, "job goes on without its client",
          {{"job", options_.job}, {"why", cancelled.message()}});
    }
  }
  End(absl::CancelledError("the client went away"));
}

template <typename Response>
void JobStream<Response>::OnDone() {
  // Waits for a callback in progress, so it must not hold the lock.
  subscription_.reset();
  open_.reset();
  // Its end ends this object, unless the service ends streams just now.
  const std::shared_ptr<JobStream> last = std::move(self_);
}

template class JobStream<v1::RunJobResponse>;
template class JobStream<v1::WatchJobResponse>;

}  // namespace dissonance
