// A stream of a job's events to one client: replays what is stored, then
// follows. Nothing is held for a slow reader but one page of events, and no
// thread waits. Implements RunJob and WatchJob, which differ in their messages
// only.
#ifndef DISSONANCE_SERVER_CONTROL_JOB_STREAM_H_
#define DISSONANCE_SERVER_CONTROL_JOB_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/jobs.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/control/open_calls.h"
#include "src/lab/jobs/job_manager.h"

namespace dissonance {

struct JobStreamOptions {
  std::string owner;  // as JobManager has it
  std::string token;  // the stream ends when it does
  std::string job;
  int64_t after_event_number = 0;
  bool cancel_on_disconnect = false;
};

// Response has set-able `event` and `job`. Owned by itself and, weakly, by the
// list of open calls.
template <typename Response>
class JobStream final : public grpc::ServerWriteReactor<Response> {
 public:
  // Borrows both.
  JobStream(JobManager& jobs, OpenCalls& calls, JobStreamOptions options);

  // Begins, with `first` as first message if it has a job. Call once.
  void Start(const std::shared_ptr<JobStream>& self, const Response& first)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the stream with `status`, after a write in progress.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override;
  void OnDone() override;

 private:
  // Does the next thing that there is to do, if nothing is in progress.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads the next page into pending_.
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  JobManager& jobs_;
  OpenCalls& calls_;
  const JobStreamOptions options_;
  std::shared_ptr<JobStream> self_;  // until OnDone
  std::unique_ptr<EventSubscription> subscription_;
  std::unique_ptr<OpenCall> open_;
  absl::Mutex mutex_;
  int64_t after_ ABSL_GUARDED_BY(mutex_);
  std::deque<Response> pending_ ABSL_GUARDED_BY(mutex_);
  Response writing_;  // gRPC's while is_writing_
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  // Set: nothing more is read; the stream ends so once pending_ is sent, or at
  // once where it is an error.
  bool has_end_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Until then news and an end wait: the stream might be done, and gone, before
  // it has all that it lets go of when it is.
  bool is_started_ ABSL_GUARDED_BY(mutex_) = false;
};

extern template class JobStream<v1::RunJobResponse>;
extern template class JobStream<v1::WatchJobResponse>;

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_JOB_STREAM_H_
