#include "src/lab/jobs/job_runner.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/failpoint.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/failpoints.h"
#include "src/lab/jobs/job_inputs.h"
#include "src/lab/jobs/job_recorder.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/jobs/run_outcome.h"

namespace dissonance {
namespace {

// Between attempts to use a store that fails.
constexpr absl::Duration kStoreRetryDelay = absl::Seconds(1);
// A week's quota gets room again as time passes, which wakes nobody.
constexpr absl::Duration kLookAgain = absl::Minutes(1);

constexpr int32_t kAllAttempts = std::numeric_limits<int32_t>::max();

// Whether the store refused because the job is no longer this run's.
bool IsStale(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsNotFound(status);
}

}  // namespace

JobRunner::JobRunner(const JobManager::Options& options, EventHub& hub,
                     WaitingJobs& waiting)
    : options_(options),
      hub_(hub),
      waiting_(waiting),
      start_time_(options.clock->Now()),
      start_monotonic_(options.clock->Monotonic()),
      maintenance_(options.maintenance) {}

JobRunner::~JobRunner() {
  Drain(absl::ZeroDuration());
  if (scheduler_.joinable()) scheduler_.join();
}

absl::Status JobRunner::Start() {
  RETURN_IF_ERROR(Recover());
  RETURN_IF_ERROR(waiting_.SettleAll());
  scheduler_ = std::thread([this] { ScheduleLoop(); });
  return absl::OkStatus();
}

absl::Status JobRunner::Recover() {
  for (const v1::JobState state : {v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSING,
                                   v1::JOB_STATE_CANCELLING}) {
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
      Log(LogLevel::kInfo, "job was interrupted by the server's end",
          {{"job", name}});
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

void JobRunner::SetMaintenance(const std::string& reason, bool stop) {
  absl::MutexLock lock(&mutex_);
  maintenance_ = reason;
  if (stop && !reason.empty()) {
    for (const auto& [name, run] : running_) {
      Interrupt(*run, absl::StrCat("maintenance (", reason, ")"));
    }
  }
  changed_.SignalAll();
}

void JobRunner::Wake() {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
}

int64_t JobRunner::running_count() {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(running_.size());
}

std::string JobRunner::WhyNot(const std::string& user, JobPlace place) {
  int64_t own = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!maintenance_.empty()) {
      return absl::StrCat("no jobs are started: ", maintenance_);
    }
    if (!ready_ && place != JobPlace::kEndpoint) return "no worker is ready";
    for (const auto& [name, run] : running_) {
      own += run->job.owner == user && run->job.place != JobPlace::kPipeline;
    }
  }
  const UserStanding standing = StandingOf(user);
  if (!standing.may_start) {
    return absl::StrCat(NameOfUser(user),
                        " is over the week's quota of device seconds");
  }
  if (place != JobPlace::kPipeline && standing.running_limit > 0 &&
      own >= standing.running_limit) {
    return absl::StrCat(NameOfUser(user),
                        " runs as many jobs as the quota "
                        "allows, ",
                        standing.running_limit);
  }
  return "";
}

void JobRunner::RequestStop(absl::string_view name, int32_t attempt) {
  absl::MutexLock lock(&mutex_);
  const auto found = running_.find(name);
  if (found == running_.end()) return;
  std::atomic<int32_t>& stop_through = found->second->stop_through;
  stop_through = std::max<int32_t>(stop_through, attempt);
}

void JobRunner::Interrupt(Run& run, const std::string& why) {
  if (run.interrupted.empty()) run.interrupted = why;
  run.job.is_stopping = true;
  run.stop_through = kAllAttempts;
}

std::string JobRunner::InterruptedBy(const Run& run) {
  absl::MutexLock lock(&mutex_);
  return run.interrupted;
}

bool JobRunner::draining() {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

void JobRunner::WaitForStore() {
  absl::MutexLock lock(&mutex_);
  if (!draining_) changed_.WaitWithTimeout(mutex_, kStoreRetryDelay);
}

void JobRunner::Drain(absl::Duration grace) {
  std::vector<std::string> stuck;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const Clock& clock = *options_.clock;
    drain_deadline_ = std::min(drain_deadline_, clock.Monotonic() + grace);
    for (const auto& [name, run] : running_) {
      Interrupt(*run, "the server stopped");
    }
    changed_.SignalAll();
    const auto is_busy = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::any_of(running_.begin(), running_.end(),
                         [](const auto& run) { return !run.second->is_over; });
    };
    bool is_late = false;
    while (is_busy() && !is_late) {
      // Negative once it is too late, also by a second call's deadline.
      const absl::Duration left = drain_deadline_ - clock.Monotonic();
      is_late = left <= absl::ZeroDuration();
      if (!is_late) changed_.WaitWithTimeout(mutex_, left);
    }
    for (const auto& [name, run] : running_) {
      if (!run->is_over) stuck.push_back(name);
    }
  }
  for (const std::string& name : stuck) {
    const absl::Time now = options_.clock->Now();
    const absl::StatusOr<StoredJob> stored =
        options_.store->Update(name, now, [now](JobChange& change) {
          return EnterInterrupted("the server stopped", now, change);
        });
    if (!stored.ok()) {
      Log(LogLevel::kError, "job stays as it is",
          {{"job", name}, {"why", stored.status().message()}});
    }
    hub_.Notify(name);
  }
}

void JobRunner::ScheduleLoop() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    JoinEnded();
    if (draining_) {
      if (running_.empty()) return;
      changed_.Wait(mutex_);
      continue;
    }
    absl::Duration wait = TimeToNextRetry();
    if (maintenance_.empty()) {
      const absl::StatusOr<ScheduleStep> step = NextStep();
      if (step.ok() && step->start.has_value()) {
        Begin(*step);
        continue;
      }
      if (step.ok() && step->preempt.has_value()) {
        Interrupt(*running_.find(*step->preempt)->second,
                  absl::StrCat("pre-emption by ", step->preempted_by));
      }
      if (!step.ok()) {
        Log(LogLevel::kError, "cannot read the queue",
            {{"why", step.status().message()}});
      }
      wait = std::min(wait, step.ok() ? kLookAgain : kStoreRetryDelay);
    }
    changed_.WaitWithTimeout(mutex_, wait);
  }
}

void JobRunner::JoinEnded() {
  for (auto entry = running_.begin(); entry != running_.end();) {
    if (!entry->second->is_over) {
      ++entry;
      continue;
    }
    // Its thread takes the lock no more.
    entry->second->thread.join();
    entry = running_.erase(entry);
  }
}

absl::StatusOr<ScheduleStep> JobRunner::NextStep() {
  std::set<std::string> skip;
  std::vector<RunningJob> running;
  for (const auto& [name, run] : running_) {
    skip.insert(name);
    running.push_back(run->job);
  }
  for (const auto& [name, time] : not_before_) skip.insert(name);
  ASSIGN_OR_RETURN(std::vector<QueueHead> heads, options_.queue->Heads(skip));
  if (!ready_) {
    std::erase_if(heads, [](const QueueHead& head) {
      return head.place != JobPlace::kEndpoint;
    });
  }
  return Schedule(
      {.heads = heads,
       .running = running,
       .now = SteadyNow(),
       .standing = [this](const std::string& user) { return StandingOf(user); },
       .memory = [this](const std::string& job) { return MemoryOf(job); }},
      {.slot_count = options_.max_concurrent_jobs,
       .endpoint_slot_count = options_.max_endpoint_jobs,
       .pipeline_slot_count = options_.max_pipelines,
       .aging = options_.aging,
       .device_bytes = options_.device_bytes});
}

UserStanding JobRunner::StandingOf(const std::string& user) {
  UserStanding standing;
  UsageLedger::Use use;
  if (options_.ledger != nullptr) use = options_.ledger->Of(user);
  standing.decayed_seconds = use.decayed_seconds;
  if (options_.quota) {
    const v1::Quota quota = options_.quota(user);
    standing.running_limit = quota.running_job_count();
    standing.may_start = quota.device_seconds_per_week() <= 0 ||
                         use.week_seconds < quota.device_seconds_per_week();
  }
  return standing;
}

DeviceMemory JobRunner::MemoryOf(const std::string& job) {
  const absl::StatusOr<StoredJob> stored =
      options_.store->Get(job, JobStore::Spec::kWithoutData);
  if (!stored.ok()) return {};
  const auto kind = options_.kinds.find(stored->job.spec().kind_case());
  if (kind == options_.kinds.end()) return {};
  return kind->second->Memory(stored->job.spec());
}

absl::Time JobRunner::SteadyNow() const {
  // The earlier of two: a job that was created before or after a jump has
  // waited no longer than either clock says.
  return std::min(
      options_.clock->Now(),
      start_time_ + (options_.clock->Monotonic() - start_monotonic_));
}

void JobRunner::Begin(const ScheduleStep& step) {
  auto run = std::make_unique<Run>();
  run->job = {.name = step.start->name,
              .owner = step.start->owner,
              .priority = step.priority,
              .memory = step.memory,
              .place = step.start->place};
  Run& started = *run;
  running_.emplace(started.job.name, std::move(run));
  started.thread = std::thread([this, &started, name = started.job.name] {
    RunJob(name, started);
    absl::MutexLock lock(&mutex_);
    started.is_over = true;
    changed_.SignalAll();
  });
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

void JobRunner::RunJob(const std::string& name, Run& run) {
  const absl::Time now = options_.clock->Now();
  const absl::StatusOr<StoredJob> started =
      options_.store->Update(name, now, [&](JobChange& change) {
        change.stored.job.set_code_version(options_.code_version);
        return Enter(v1::JOB_STATE_RUNNING, "", now, change);
      });
  if (!started.ok()) {
    // Stale: cancelled or deleted just now. Else the store fails: later.
    if (IsStale(started.status())) return;
    Log(LogLevel::kError, "cannot start a job",
        {{"job", name}, {"why", started.status().message()}});
    return WaitForStore();
  }
  Log(LogLevel::kInfo, "job started",
      {{"job", name},
       {"attempt", started->job.attempt_count()},
       {"user", started->owner}});
  Failpoint(kFailpointStarted);
  hub_.Notify(name);
  const absl::Status result = RunKind(started->job, run);
  if (result.ok()) Failpoint(kFailpointBeforeSuccess);
  EndRun(started->job, run, result);
}

absl::Status JobRunner::RunKind(const v1::Job& job, Run& run) {
  ASSIGN_OR_RETURN(StoredJob stored,
                   options_.store->Get(job.name(), JobStore::Spec::kFull));
  const auto kind = options_.kinds.find(stored.job.spec().kind_case());
  if (kind == options_.kinds.end()) {
    return absl::UnimplementedError(
        "this server does not have the job's kind; start the release that "
        "queued it");
  }
  if (options_.may_run) {
    RETURN_IF_ERROR(options_.may_run(stored.owner, stored.job.spec()));
  }
  ASSIGN_OR_RETURN(const v1::JobSpec spec,
                   WithData(stored.job.spec(), *options_.artifacts));
  // The attempt is the one that was started, whatever happened since.
  stored.job.set_attempt_count(job.attempt_count());
  JobRecorder recorder(
      {.record = {*options_.store, options_.ledger, *options_.clock},
       .artifacts = *options_.artifacts,
       .hub = hub_},
      std::move(stored), run.spend, run.stop_through);
  try {
    return kind->second->Run(spec, recorder);
  } catch (const std::exception& error) {
    // A kind does not throw; one that does must not end the server.
    return absl::InternalError(absl::StrCat(
        "the kind threw an exception, a bug to report: ", error.what()));
  }
}

void JobRunner::EndRun(const v1::Job& job, Run& run,
                       const absl::Status& result) {
  while (true) {
    const absl::Status stored = StoreEnd(job, run, result);
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
      Log(LogLevel::kInfo, "job is not this run's any more",
          {{"job", job.name()}, {"why", stored.message()}});
      return;
    }
    Log(LogLevel::kError, "cannot end a job",
        {{"job", job.name()}, {"why", stored.message()}});
    // What is not stored now, the next start finds and resumes.
    if (draining()) return;
    WaitForStore();
  }
}

absl::Status JobRunner::StoreEnd(const v1::Job& job, Run& run,
                                 const absl::Status& result) {
  const RunPolicy policy = {.max_lost_count = options_.max_lost_count,
                            .interrupted = InterruptedBy(run)};
  ASSIGN_OR_RETURN(
      const StoredJob stored,
      UpdateByAttempt({*options_.store, options_.ledger, *options_.clock},
                      {.job = job, .spend = run.spend},
                      [&](JobChange& change, absl::Time now) {
                        return EnterOutcome(result, policy, now, change);
                      }));
  if (stored.job.state() == v1::JOB_STATE_SUCCEEDED) {
    Failpoint(kFailpointSucceeded);
  }
  if (stored.job.state() == v1::JOB_STATE_QUEUED &&
      policy.interrupted.empty()) {
    Backoff(job.name(), stored.lost_count);
  }
  Log(LogLevel::kInfo, "job left its run",
      {{"job", job.name()},
       {"state", StateName(stored.job.state())},
       {"device_seconds", stored.job.usage().device_seconds()},
       // The reason may quote a question; it is in the job.
       {"code", absl::StatusCodeToString(result.code())}});
  hub_.Notify(job.name());
  if (!HasEnded(stored.job.state())) return absl::OkStatus();
  // What a failure leaves undone here, the next start settles.
  const absl::Status settled = waiting_.SettleAfter(job.name());
  if (!settled.ok()) {
    Log(LogLevel::kError, "jobs that wait for this one wait on",
        {{"job", job.name()}, {"why", settled.message()}});
  }
  return absl::OkStatus();
}

}  // namespace dissonance
