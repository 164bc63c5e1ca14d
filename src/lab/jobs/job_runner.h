// Runs queued jobs, each on a thread of its own: takes them as Schedule says,
// stops background jobs for others, and decides by the state machine what
// follows when a kind returns. Thread safe. Part of JobManager, which owns it.
#ifndef DISSONANCE_LAB_JOBS_JOB_RUNNER_H_
#define DISSONANCE_LAB_JOBS_JOB_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/base/steady_wait.h"
#include "src/lab/jobs/device_meter.h"
#include "src/lab/jobs/event_hub.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/jobs/scheduler.h"
#include "src/lab/jobs/waiting_jobs.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

class JobRunner {
 public:
  // All are borrowed.
  JobRunner(const JobManager::Options& options, EventHub& hub,
            WaitingJobs& waiting);
  // Drain(0), then waits for the kinds to return.
  ~JobRunner();

  // See JobManager.
  absl::Status Start();
  void SetComputeReady(bool ready);
  void SetMaintenance(const std::string& reason, bool stop);
  void Drain(absl::Duration grace);

  // A job was queued.
  void Wake();
  // Asks an attempt to stop at its next batch boundary; a later one of the
  // same job is not meant.
  void RequestStop(absl::string_view name, int32_t attempt);

  // Jobs that a thread works on.
  int64_t running_count();
  // What keeps the user's queued jobs from starting even if it is their turn;
  // empty: nothing does.
  std::string WhyNot(const std::string& user, JobPlace place)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A job that a thread works on.
  struct Run {
    RunningJob job;                         // guarded by mutex_
    std::string interrupted = {};           // why it was stopped; so too
    bool is_over = false;                   // so too
    std::atomic<int32_t> stop_through = 0;  // attempts that are to stop
    DeviceSpend spend = {};
    std::thread thread = {};
  };

  absl::Status Recover();
  void ScheduleLoop();
  absl::StatusOr<ScheduleStep> NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Begin(const ScheduleStep& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Interrupt(Run& run, const std::string& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Joins the threads of runs that are over, which take the lock no more.
  void JoinEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration TimeToNextRetry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  UserStanding StandingOf(const std::string& user);
  DeviceMemory MemoryOf(const std::string& job);
  // Now, for how long jobs have waited, whenever the clock was set.
  absl::Time SteadyNow() const;

  void RunJob(const std::string& name, Run& run);
  absl::Status RunKind(const v1::Job& job, Run& run);
  // Stores what follows from the kind's `result`; waits and tries again while
  // the store fails, so that a full disk strands no job.
  void EndRun(const v1::Job& job, Run& run, const absl::Status& result);
  absl::Status StoreEnd(const v1::Job& job, Run& run,
                        const absl::Status& result);
  void Backoff(const std::string& name, int lost_count);
  std::string InterruptedBy(const Run& run) ABSL_LOCKS_EXCLUDED(mutex_);
  bool draining();
  // Before the store is tried again.
  void WaitForStore();

  const JobManager::Options& options_;
  EventHub& hub_;
  WaitingJobs& waiting_;
  const absl::Time start_time_;
  const absl::Duration start_monotonic_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = true;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::string maintenance_ ABSL_GUARDED_BY(mutex_);
  // By the clock's monotonic time.
  absl::Duration drain_deadline_ ABSL_GUARDED_BY(mutex_) =
      absl::InfiniteDuration();
  std::map<std::string, std::unique_ptr<Run>, std::less<>> running_
      ABSL_GUARDED_BY(mutex_);
  // Jobs in back-off, with the monotonic time at which they may run.
  std::map<std::string, absl::Duration> not_before_ ABSL_GUARDED_BY(mutex_);
  std::thread scheduler_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_RUNNER_H_
