#include "server/control/worker_supervisor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// A worker that served for longer starts the back-off anew when it ends.
constexpr absl::Duration kSteadyAfter = absl::Minutes(1);
constexpr absl::Duration kProbeLimit = absl::Seconds(5);
// Calls that do not reach a worker, one after the other, before it is replaced
// though it reports.
constexpr int kMostFailedProbes = 3;
// How often it is looked whether the last call to a worker has ended.
constexpr absl::Duration kIdlePoll = absl::Milliseconds(50);

absl::Duration Now() { return Clock::Real().Monotonic(); }

}  // namespace

WorkerSupervisor::WorkerSupervisor(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

WorkerSupervisor::~WorkerSupervisor() {
  Stop();
  ::close(wake_fd_);
}

void WorkerSupervisor::Start() {
  thread_ = std::thread([this] { Run(); });
}

void WorkerSupervisor::Stop() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changes_.SignalAll();
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void WorkerSupervisor::SetWanted(bool wanted) {
  {
    const absl::MutexLock lock(&mutex_);
    wanted_ = wanted;
    changes_.SignalAll();
  }
  Wake();
}

bool WorkerSupervisor::wanted() const {
  const absl::MutexLock lock(&mutex_);
  return wanted_;
}

void WorkerSupervisor::Wake() { ::eventfd_write(wake_fd_, 1); }

bool WorkerSupervisor::stopping() const {
  const absl::MutexLock lock(&mutex_);
  return stopping_;
}

v1::Worker WorkerSupervisor::Describe() const {
  v1::Worker worker;
  worker.set_name(options_.name);
  worker.set_device(options_.device);
  worker.set_fencing_number(parts_.leases.fencing_number());
  worker.set_resident_bytes(parts_.leases.last_report().resident_bytes);
  const std::optional<LeaseHolder> holder = parts_.leases.holder();
  const absl::MutexLock lock(&mutex_);
  worker.set_pid(pid_);
  if (holder.has_value()) {
    worker.set_device(holder->identity.device);
    worker.set_thread_count(holder->identity.thread_count);
    worker.set_pid(holder->identity.pid);
  }
  worker.set_state(state_);
  worker.set_launched_as(launched_as_);
  worker.set_waits_for(waits_for_);
  worker.set_restart_count(restart_count_);
  worker.set_last_exit(last_exit_);
  return worker;
}

void WorkerSupervisor::Enter(WorkerEvent event) {
  const absl::MutexLock lock(&mutex_);
  const absl::StatusOr<v1::WorkerState> next = NextWorkerState(state_, event);
  if (!next.ok()) {
    spdlog::critical("{}", std::string(next.status().message()));
    return;
  }
  state_ = *next;
  if (event == WorkerEvent::kEnd || event == WorkerEvent::kLose) {
    ++restart_count_;
  }
  if (event == WorkerEvent::kEnd || event == WorkerEvent::kStop) {
    pid_ = 0;
    launched_as_.clear();
    waits_for_.clear();
  }
}

void WorkerSupervisor::Run() {
  absl::Duration backoff = options_.first_backoff;
  while (AwaitWanted()) {
    Enter(WorkerEvent::kLaunch);
    const absl::Duration start = Now();
    const absl::StatusOr<std::unique_ptr<LaunchedWorker>> worker = Launch();
    // The worker needs a while before it asks for its models.
    std::atomic<bool> is_over = false;
    std::future<void> read_ahead;
    if (options_.reads_ahead) {
      read_ahead = std::async(std::launch::async, [this, &is_over] {
        parts_.catalog.ReadAhead(
            [this, &is_over] { return is_over || stopping(); });
      });
    }
    const std::string end =
        worker.ok() ? Watch(**worker) : std::string(worker.status().message());
    is_over = true;
    Lose();
    parts_.leases.Revoke();
    if (std::exchange(asked_to_end_, false) || stopping()) {
      Enter(WorkerEvent::kStop);
      continue;
    }
    Enter(WorkerEvent::kEnd);
    {
      const absl::MutexLock lock(&mutex_);
      last_exit_ = end;
    }
    if (Now() - start > kSteadyAfter) backoff = options_.first_backoff;
    spdlog::error("{} ended: {}; next start in {}, its log is {}",
                  options_.name, end, absl::FormatDuration(backoff),
                  options_.log_file);
    WaitForStop(backoff);
    backoff = std::min(2 * backoff, options_.max_backoff);
  }
  Enter(WorkerEvent::kStop);
}

bool WorkerSupervisor::AwaitWanted() {
  const absl::MutexLock lock(&mutex_);
  while (!wanted_ && !stopping_) changes_.Wait(mutex_);
  return !stopping_;
}

absl::StatusOr<std::unique_ptr<LaunchedWorker>> WorkerSupervisor::Launch() {
  ASSIGN_OR_RETURN(const Lease lease, parts_.leases.Issue());
  ASSIGN_OR_RETURN(
      std::unique_ptr<LaunchedWorker> launched,
      parts_.launcher.Launch({.worker = options_.worker,
                              .fencing_number = lease.fencing_number,
                              .token = lease.id}));
  spdlog::info("started {} as {}", options_.name, launched->name());
  const absl::MutexLock lock(&mutex_);
  pid_ = launched->pid();
  launched_as_ = launched->name();
  return launched;
}

std::string WorkerSupervisor::Watch(LaunchedWorker& worker) {
  waiting_since_ = Now();
  while (true) {
    if (worker.AwaitEnd(wake_fd_, parts_.leases.heartbeat_interval())) {
      return worker.Reap();
    }
    if (stopping() || !wanted()) return Terminate(worker);
    const std::string end = Look(worker);
    if (!end.empty()) return end;
  }
}

std::string WorkerSupervisor::Look(LaunchedWorker& worker) {
  {
    const absl::MutexLock lock(&mutex_);
    launched_as_ = worker.name();
    waits_for_ = worker.waits_for();
  }
  const std::optional<LeaseHolder> holder = parts_.leases.holder();
  if (served_number_ != 0 &&
      (!holder.has_value() || holder->fencing_number != served_number_)) {
    AwaitAnotherRun(worker, "it was run again");
  }
  if (!worker.has_started()) waiting_since_ = Now();
  if (served_number_ == 0 && holder.has_value()) MakeReady(*holder);
  const std::string trouble = Trouble(worker);
  if (trouble.empty()) return "";
  if (worker.may_restart() && parts_.leases.is_silent()) {
    // Its node may be gone; whoever runs it sees that too and runs it again.
    parts_.leases.Suspend();
    AwaitAnotherRun(worker, trouble);
    return "";
  }
  return Kill(worker, trouble);
}

std::string WorkerSupervisor::Trouble(LaunchedWorker& worker) {
  const std::string ailment = parts_.leases.Ailment();
  if (!ailment.empty()) return ailment;
  if (served_number_ == 0) {
    if (Now() - waiting_since_ <= options_.start_limit) return "";
    return unreachable_.empty()
               ? absl::StrCat("did not report within ",
                              absl::FormatDuration(options_.start_limit))
               : unreachable_;
  }
  const std::string dropped = parts_.route.WhyDropped(options_.worker);
  if (!dropped.empty()) return dropped;
  if (!connection_->seems_lost()) {
    failed_probes_ = 0;
    return "";
  }
  const absl::Status reached = connection_->Probe(kProbeLimit);
  failed_probes_ = reached.ok() ? 0 : failed_probes_ + 1;
  if (failed_probes_ < kMostFailedProbes) return "";
  return absl::StrCat(worker.name(), " reports, but can't be called: ",
                      std::string(reached.message()));
}

void WorkerSupervisor::AwaitAnotherRun(const LaunchedWorker& worker,
                                       const std::string& why) {
  spdlog::warn("{}, {}: {}; its lease is over", options_.name, worker.name(),
               why);
  waiting_since_ = Now();
  if (served_number_ == 0) return;
  Lose();
  Enter(WorkerEvent::kLose);
}

void WorkerSupervisor::MakeReady(const LeaseHolder& holder) {
  const auto connection = WorkerConnection::Open(
      holder.identity.address, parts_.credentials, options_.max_message_bytes);
  const auto is_over = [this, &holder] {
    const std::optional<LeaseHolder> now = parts_.leases.holder();
    return stopping() || !parts_.leases.Ailment().empty() || !now.has_value() ||
           now->fencing_number != holder.fencing_number;
  };
  const absl::Status reached = connection->Probe(kProbeLimit);
  if (!reached.ok()) {
    const std::string why = absl::StrCat(
        "it reported from ", holder.identity.address,
        ", which can't be reached from here: ", std::string(reached.message()),
        "; see to the node's name and to firewalls");
    if (why != unreachable_) spdlog::error("{}: {}", options_.name, why);
    unreachable_ = why;
    return;
  }
  unreachable_.clear();
  const absl::Status restored = parts_.catalog.Restore(
      options_.worker, connection->channel(), {.cancelled = is_over},
      [&] { parts_.route.Set(options_.worker, connection); });
  if (!restored.ok()) {
    // A lost worker is seen to by whoever waits for it; anything else is the
    // database's, and tried again with the next heartbeat.
    spdlog::error("the models of {} are not restored: {}", options_.name,
                  std::string(restored.message()));
    return;
  }
  served_number_ = holder.fencing_number;
  connection_ = connection;
  failed_probes_ = 0;
  Enter(WorkerEvent::kReady);
  spdlog::info("{} is ready: pid {}, lease {}", options_.name,
               holder.identity.pid, holder.fencing_number);
  parts_.on_ready(true);
}

void WorkerSupervisor::Lose() {
  parts_.route.Set(options_.worker, nullptr);
  if (connection_ != nullptr) connection_->Cut();
  connection_.reset();
  served_number_ = 0;
  parts_.on_ready(false);
}

std::string WorkerSupervisor::Kill(LaunchedWorker& worker,
                                   const std::string& why) {
  // No more calls to it, before it is gone.
  Lose();
  parts_.leases.Revoke();
  worker.Kill();
  worker.Reap();
  return absl::StrCat("killed: ", why);
}

std::string WorkerSupervisor::Terminate(LaunchedWorker& worker) {
  asked_to_end_ = true;
  parts_.route.Withdraw(options_.worker);
  parts_.on_ready(false);
  while (connection_ != nullptr && connection_->call_count() > 0 &&
         !stopping() && parts_.leases.Ailment().empty()) {
    if (worker.AwaitEnd(wake_fd_, kIdlePoll)) return worker.Reap();
  }
  const absl::Duration deadline = Now() + options_.stop_limit;
  worker.Terminate();
  while (true) {
    const absl::Duration left = deadline - Now();
    if (left <= absl::ZeroDuration()) return Kill(worker, "did not stop");
    if (worker.AwaitEnd(wake_fd_, left)) return worker.Reap();
  }
}

void WorkerSupervisor::WaitForStop(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const absl::Duration end = Now() + timeout;
  while (!stopping_) {
    const absl::Duration left = end - Now();
    if (left <= absl::ZeroDuration()) return;
    changes_.WaitWithTimeout(mutex_, left);
  }
}

}  // namespace dissonance
