#include "src/lab/jobs/job_runner.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "src/base/failpoint.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/failpoints.h"
#include "src/lab/jobs/job_recorder.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/jobs/run_outcome.h"

namespace dissonance {
namespace {

// Between attempts to use a store that fails.
constexpr absl::Duration kStoreRetryDelay = absl::Seconds(1);

constexpr int32_t kAllAttempts = std::numeric_limits<int32_t>::max();

// Whether the store refused because the job is no longer this run's.
bool IsStale(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsNotFound(status);
}

}  // namespace

JobRunner::JobRunner(const JobManager::Options& options, EventHub& hub)
    : options_(options), hub_(hub) {}

JobRunner::~JobRunner() {
  Drain(absl::ZeroDuration());
  for (std::thread& thread : threads_) thread.join();
}

absl::Status JobRunner::Start() {
  RETURN_IF_ERROR(Recover());
  for (int i = 0; i < options_.max_concurrent_jobs; ++i) {
    threads_.emplace_back([this] { RunLoop(); });
  }
  return absl::OkStatus();
}

absl::Status JobRunner::Recover() {
  for (const v1::JobState state :
       {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     options_.store->NamesIn(state));
    for (const std::string& name : names) {
      const absl::Time now = options_.clock->Now();
      RETURN_IF_ERROR(options_.store
                          ->Update(name, now,
                                   [now](JobChange& change) {
                                     return EnterInterrupted(
                                         "the server ended unexpectedly", now,
                                         change);
                                   })
                          .status());
      spdlog::info("{} was interrupted by the server's end", name);
      hub_.Notify(name);
    }
  }
  return absl::OkStatus();
}

void JobRunner::SetComputeReady(bool ready) {
  absl::MutexLock lock(&mutex_);
  ready_ = ready;
  if (ready) not_before_.clear();
  changed_.SignalAll();
}

void JobRunner::Wake() {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
}

void JobRunner::RequestStop(absl::string_view name, int32_t attempt) {
  absl::MutexLock lock(&mutex_);
  const auto found = running_.find(name);
  if (found == running_.end()) return;
  std::atomic<int32_t>& stop_through = found->second->stop_through;
  stop_through = std::max<int32_t>(stop_through, attempt);
}

bool JobRunner::draining() {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

void JobRunner::WaitForStore() {
  absl::MutexLock lock(&mutex_);
  if (!draining_) changed_.WaitWithTimeout(&mutex_, kStoreRetryDelay);
}

void JobRunner::Drain(absl::Duration grace) {
  std::vector<std::string> stuck;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const Clock& clock = *options_.clock;
    drain_deadline_ = std::min(drain_deadline_, clock.Monotonic() + grace);
    for (const auto& [name, run] : running_) run->stop_through = kAllAttempts;
    changed_.SignalAll();
    bool is_late = false;
    while (!running_.empty() && !is_late) {
      // Negative once it is too late, also by a second call's deadline.
      const absl::Duration left = drain_deadline_ - clock.Monotonic();
      is_late = left <= absl::ZeroDuration() ||
                changed_.WaitWithTimeout(&mutex_, left);
    }
    for (const auto& [name, run] : running_) stuck.push_back(name);
  }
  for (const std::string& name : stuck) {
    const absl::Time now = options_.clock->Now();
    const absl::StatusOr<StoredJob> stored =
        options_.store->Update(name, now, [now](JobChange& change) {
          return EnterInterrupted("the server stopped", now, change);
        });
    if (!stored.ok()) {
      spdlog::error("{} stays as it is: {}", name,
                    std::string(stored.status().message()));
    }
    hub_.Notify(name);
  }
}

void JobRunner::RunLoop() {
  while (const std::optional<std::string> name = TakeNext()) {
    std::shared_ptr<Run> run;
    {
      absl::MutexLock lock(&mutex_);
      run = running_.find(*name)->second;
    }
    RunJob(*name, *run);
    absl::MutexLock lock(&mutex_);
    running_.erase(*name);
    changed_.SignalAll();
  }
}

std::optional<std::string> JobRunner::TakeNext() {
  absl::MutexLock lock(&mutex_);
  while (!draining_) {
    absl::Duration wait = TimeToNextRetry();
    if (ready_) {
      std::set<std::string> skip;
      for (const auto& [name, run] : running_) skip.insert(name);
      for (const auto& [name, time] : not_before_) skip.insert(name);
      absl::StatusOr<std::optional<std::string>> next =
          options_.store->NextQueued(skip);
      if (next.ok() && next->has_value()) {
        running_.emplace(**next, std::make_shared<Run>());
        return **std::move(next);
      }
      if (!next.ok()) {
        spdlog::error("cannot read the queue: {}",
                      std::string(next.status().message()));
        wait = std::min(wait, kStoreRetryDelay);
      }
    }
    changed_.WaitWithTimeout(&mutex_, wait);
  }
  return std::nullopt;
}

absl::Duration JobRunner::TimeToNextRetry() {
  const absl::Duration now = options_.clock->Monotonic();
  absl::Duration wait = absl::InfiniteDuration();
  for (auto entry = not_before_.begin(); entry != not_before_.end();) {
    if (entry->second <= now) {
      entry = not_before_.erase(entry);
    } else {
      wait = std::min(wait, entry->second - now);
      ++entry;
    }
  }
  return wait;
}

void JobRunner::Backoff(const std::string& name, int lost_count) {
  absl::Duration delay = options_.initial_backoff;
  for (int i = 1; i < lost_count && delay < options_.max_backoff; ++i) {
    delay *= 2;
  }
  delay = std::min(delay, options_.max_backoff);
  absl::MutexLock lock(&mutex_);
  not_before_[name] = options_.clock->Monotonic() + delay;
}

void JobRunner::RunJob(const std::string& name, const Run& run) {
  const absl::Time now = options_.clock->Now();
  const absl::StatusOr<StoredJob> started =
      options_.store->Update(name, now, [now](JobChange& change) {
        return Enter(v1::JOB_STATE_RUNNING, "", now, change);
      });
  if (!started.ok()) {
    // Stale: cancelled or deleted just now. Else the store fails: later.
    if (IsStale(started.status())) return;
    spdlog::error("cannot start {}: {}", name,
                  std::string(started.status().message()));
    return WaitForStore();
  }
  spdlog::info("{} started, attempt {}", name, started->job.attempt_count());
  Failpoint(kFailpointStarted);
  hub_.Notify(name);
  const absl::Status result = RunKind(started->job, run);
  if (result.ok()) Failpoint(kFailpointBeforeSuccess);
  EndRun(started->job, result);
}

absl::Status JobRunner::RunKind(const v1::Job& job, const Run& run) {
  ASSIGN_OR_RETURN(StoredJob stored,
                   options_.store->Get(job.name(), JobStore::Spec::kFull));
  const auto kind = options_.kinds.find(stored.job.spec().kind_case());
  if (kind == options_.kinds.end()) {
    return absl::UnimplementedError(
        "this server does not have the job's kind; start the release that "
        "queued it");
  }
  // The attempt is the one that was started, whatever happened since.
  stored.job.set_attempt_count(job.attempt_count());
  JobRecorder recorder(
      {*options_.store, *options_.artifacts, hub_, *options_.clock},
      std::move(stored), run.stop_through);
  try {
    return kind->second->Run(recorder.job().spec(), recorder);
  } catch (const std::exception& error) {
    // A kind does not throw; one that does must not end the server.
    return absl::InternalError(absl::StrCat(
        "the kind threw an exception, a bug to report: ", error.what()));
  }
}

void JobRunner::EndRun(const v1::Job& job, const absl::Status& result) {
  while (true) {
    const absl::Status stored = StoreEnd(job, result);
    SpaceReserve* const reserve = options_.reserve;
    if (stored.ok()) {
      if (reserve != nullptr) reserve->Hold();
      return;
    }
    if (absl::IsResourceExhausted(stored) && reserve != nullptr &&
        reserve->Release()) {
      continue;
    }
    if (IsStale(stored)) {
      spdlog::info("{} is not this run's any more: {}", job.name(),
                   std::string(stored.message()));
      return;
    }
    spdlog::error("cannot end {}: {}", job.name(),
                  std::string(stored.message()));
    // What is not stored now, the next start finds and resumes.
    if (draining()) return;
    WaitForStore();
  }
}

absl::Status JobRunner::StoreEnd(const v1::Job& job,
                                 const absl::Status& result) {
  const absl::Time now = options_.clock->Now();
  const RunPolicy policy = {.max_lost_count = options_.max_lost_count,
                            .draining = draining()};
  ASSIGN_OR_RETURN(const StoredJob stored,
                   options_.store->Update(
                       job.name(), now, [&](JobChange& change) -> absl::Status {
                         RETURN_IF_ERROR(CheckAttempt(change.stored.job,
                                                      job.attempt_count()));
                         return EnterOutcome(result, policy, now, change);
                       }));
  if (stored.job.state() == v1::JOB_STATE_SUCCEEDED) {
    Failpoint(kFailpointSucceeded);
  }
  if (stored.job.state() == v1::JOB_STATE_QUEUED) {
    Backoff(job.name(), stored.lost_count);
  }
  spdlog::info("{} is {} {}", job.name(), StateName(stored.job.state()),
               stored.job.reason());
  hub_.Notify(job.name());
  return absl::OkStatus();
}

}  // namespace dissonance
