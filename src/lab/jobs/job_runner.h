// Runs queued jobs on threads: picks by priority, then age; decides by the
// state machine what follows when a kind returns. Thread safe. Part of
// JobManager, which owns it.
#ifndef DISSONANCE_LAB_JOBS_JOB_RUNNER_H_
#define DISSONANCE_LAB_JOBS_JOB_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

class JobRunner {
 public:
  // Both are borrowed.
  JobRunner(const JobManager::Options& options, EventHub& hub);
  // Drain(0), then waits for the kinds to return.
  ~JobRunner();

  // See JobManager.
  absl::Status Start();
  void SetComputeReady(bool ready);
  void Drain(absl::Duration grace);

  // A job was queued.
  void Wake();
  // Asks an attempt to stop at its next batch boundary; a later one of the
  // same job is not meant.
  void RequestStop(absl::string_view name, int32_t attempt);

 private:
  // A job that a thread works on.
  struct Run {
    std::atomic<int32_t> stop_through = 0;  // attempts that are to stop
  };

  absl::Status Recover();
  void RunLoop();
  // The next job, entered in running_; nullopt when draining.
  std::optional<std::string> TakeNext();
  absl::Duration TimeToNextRetry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunJob(const std::string& name, const Run& run);
  absl::Status RunKind(const v1::Job& job, const Run& run);
  // Stores what follows from the kind's `result`; waits and tries again while
  // the store fails, so that a full disk strands no job.
  void EndRun(const v1::Job& job, const absl::Status& result);
  absl::Status StoreEnd(const v1::Job& job, const absl::Status& result);
  void Backoff(const std::string& name, int lost_count);
  bool draining();
  // Before the store is tried again.
  void WaitForStore();

  const JobManager::Options& options_;
  EventHub& hub_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = true;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  // By the clock's monotonic time.
  absl::Duration drain_deadline_ ABSL_GUARDED_BY(mutex_) =
      absl::InfiniteDuration();
  std::map<std::string, std::shared_ptr<Run>, std::less<>> running_
      ABSL_GUARDED_BY(mutex_);
  // Jobs in back-off, with the monotonic time at which they may run.
  std::map<std::string, absl::Duration> not_before_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_RUNNER_H_
