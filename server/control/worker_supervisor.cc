#include "server/control/worker_supervisor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// A worker that served for longer starts the back-off anew when it ends.
constexpr absl::Duration kSteadyAfter = absl::Minutes(1);
constexpr char kTokenVariable[] = "DISSONANCE_LAUNCH_TOKEN=";

}  // namespace

WorkerSupervisor::WorkerSupervisor(Options options, WorkerLeases& leases,
                                   WorkerRoute& route, ModelCatalog& catalog,
                                   std::function<void(bool)> on_ready)
    : options_(std::move(options)),
      leases_(leases),
      route_(route),
      catalog_(catalog),
      on_ready_(std::move(on_ready)),
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
    stops_.SignalAll();
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void WorkerSupervisor::Wake() { ::eventfd_write(wake_fd_, 1); }

bool WorkerSupervisor::stopping() const {
  const absl::MutexLock lock(&mutex_);
  return stopping_;
}

bool WorkerSupervisor::is_ready() const {
  const absl::MutexLock lock(&mutex_);
  return state_ == v1::WORKER_STATE_READY;
}

v1::Worker WorkerSupervisor::Describe() const {
  v1::Worker worker;
  worker.set_name("workers/local");
  worker.set_device(options_.device);
  worker.set_fencing_number(leases_.fencing_number());
  worker.set_resident_bytes(leases_.last_report().resident_bytes);
  if (const auto identity = leases_.identity()) {
    worker.set_thread_count(identity->thread_count);
  }
  const absl::MutexLock lock(&mutex_);
  worker.set_state(state_);
  worker.set_pid(pid_);
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
  if (event == WorkerEvent::kEnd) ++restart_count_;
  if (event != WorkerEvent::kReady) pid_ = 0;
}

void WorkerSupervisor::Run() {
  const Clock& clock = Clock::Real();
  absl::Duration backoff = options_.first_backoff;
  while (!stopping()) {
    Enter(WorkerEvent::kLaunch);
    const absl::Duration start = clock.Monotonic();
    const absl::StatusOr<std::unique_ptr<ChildProcess>> child = Launch();
    // The worker needs a while before it asks for its models.
    std::atomic<bool> is_over = false;
    const std::future<void> read_ahead =
        std::async(std::launch::async, [this, &is_over] {
          catalog_.ReadAhead(
              [this, &is_over] { return is_over || stopping(); });
        });
    const std::string end =
        child.ok() ? Watch(**child) : std::string(child.status().message());
    is_over = true;
    route_.Set(nullptr);
    leases_.Revoke();
    on_ready_(false);
    if (stopping()) break;
    Enter(WorkerEvent::kEnd);
    {
      const absl::MutexLock lock(&mutex_);
      last_exit_ = end;
    }
    if (clock.Monotonic() - start > kSteadyAfter) {
      backoff = options_.first_backoff;
    }
    spdlog::error("the worker ended: {}; next start in {}, its log is {}", end,
                  absl::FormatDuration(backoff), options_.log_file);
    WaitForStop(backoff);
    backoff = std::min(2 * backoff, options_.max_backoff);
  }
  Enter(WorkerEvent::kStop);
}

absl::StatusOr<std::unique_ptr<ChildProcess>> WorkerSupervisor::Launch() {
  const Lease launch = leases_.Issue();
  RETURN_IF_ERROR(WriteFileAtomically(
      options_.fencing_file, absl::StrCat(launch.fencing_number, "\n"), 0600));
  ChildProcess::Options child{.program = options_.program,
                              .arguments = options_.arguments,
                              .environment = options_.environment,
                              .log_file = options_.log_file};
  child.arguments.push_back("--listen");
  child.arguments.push_back(
      absl::StrCat("unix:", options_.socket_prefix, launch.fencing_number));
  child.environment.push_back(absl::StrCat(kTokenVariable, launch.id));
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> started,
                   ChildProcess::Start(child));
  spdlog::info("started worker process {}", started->pid());
  const absl::MutexLock lock(&mutex_);
  pid_ = started->pid();
  return started;
}

std::string WorkerSupervisor::Watch(ChildProcess& child) {
  const Clock& clock = Clock::Real();
  const absl::Duration start = clock.Monotonic();
  while (true) {
    if (WaitForChild(child, leases_.heartbeat_interval())) return child.Reap();
    if (stopping()) return Terminate(child);
    if (!is_ready()) {
      if (const auto identity = leases_.identity()) {
        MakeReady(*identity);
      } else if (clock.Monotonic() - start > options_.start_limit) {
        return Kill(child,
                    absl::StrCat("did not report within ",
                                 absl::FormatDuration(options_.start_limit)));
      }
    }
    const std::string ailment = leases_.Ailment();
    if (!ailment.empty()) return Kill(child, ailment);
  }
}

void WorkerSupervisor::MakeReady(const WorkerIdentity& identity) {
  const WorkerChannel channel =
      OpenWorkerChannel(identity.address, options_.max_message_bytes);
  const absl::Status restored =
      catalog_.Restore(channel, {.cancelled = [this] {
                         return stopping() || !leases_.Ailment().empty();
                       }});
  if (!restored.ok()) {
    // A lost worker is seen to by whoever waits for it; anything else is the
    // database's, and tried again with the next heartbeat.
    spdlog::error("the worker's models are not restored: {}",
                  std::string(restored.message()));
    return;
  }
  route_.Set(channel);
  Enter(WorkerEvent::kReady);
  spdlog::info("worker {} is ready", identity.pid);
  on_ready_(true);
}

std::string WorkerSupervisor::Kill(ChildProcess& child,
                                   const std::string& why) {
  // No more calls to it, before it is gone.
  route_.Set(nullptr);
  leases_.Revoke();
  child.Signal(SIGKILL);
  child.Reap();
  return absl::StrCat("killed: ", why);
}

std::string WorkerSupervisor::Terminate(ChildProcess& child) {
  const Clock& clock = Clock::Real();
  const absl::Duration deadline = clock.Monotonic() + options_.stop_limit;
  child.Signal(SIGTERM);
  while (true) {
    const absl::Duration left = deadline - clock.Monotonic();
    if (left <= absl::ZeroDuration()) return Kill(child, "did not stop");
    if (WaitForChild(child, left)) return child.Reap();
  }
}

bool WorkerSupervisor::WaitForChild(const ChildProcess& child,
                                    absl::Duration timeout) {
  pollfd fds[] = {{child.pidfd(), POLLIN, 0}, {wake_fd_, POLLIN, 0}};
  const auto timeout_ms = static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, 60'000));
  if (::poll(fds, 2, timeout_ms) <= 0) return false;
  eventfd_t ignored = 0;
  if ((fds[1].revents & POLLIN) != 0) ::eventfd_read(wake_fd_, &ignored);
  return (fds[0].revents & POLLIN) != 0;
}

void WorkerSupervisor::WaitForStop(absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const absl::Duration end = Clock::Real().Monotonic() + timeout;
  while (!stopping_) {
    const absl::Duration left = end - Clock::Real().Monotonic();
    if (left <= absl::ZeroDuration()) return;
    stops_.WaitWithTimeout(mutex_, left);
  }
}

}  // namespace dissonance
