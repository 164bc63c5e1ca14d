#include "server/control/local_launcher.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/control/child_process.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kTokenVariable[] = "DISSONANCE_LAUNCH_TOKEN=";

class LocalWorker final : public LaunchedWorker {
 public:
  explicit LocalWorker(std::unique_ptr<ChildProcess> child)
      : child_(std::move(child)) {}

  bool AwaitEnd(int wake_fd, absl::Duration timeout) override {
    pollfd fds[] = {{child_->pidfd(), POLLIN, 0}, {wake_fd, POLLIN, 0}};
    const auto timeout_ms = static_cast<int>(
        std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, 60'000));
    if (::poll(fds, 2, timeout_ms) <= 0) return false;
    eventfd_t ignored = 0;
    if ((fds[1].revents & POLLIN) != 0) ::eventfd_read(wake_fd, &ignored);
    return (fds[0].revents & POLLIN) != 0;
  }
  void Terminate() override { child_->Signal(SIGTERM); }
  void Kill() override {
    child_->Signal(SIGKILL);
    end_ = child_->Reap();
  }
  std::string Reap() override { return end_.empty() ? child_->Reap() : end_; }

  std::string name() const override {
    return absl::StrCat("process ", child_->pid());
  }
  int pid() const override { return child_->pid(); }
  bool has_started() const override { return true; }
  bool may_restart() const override { return false; }

 private:
  const std::unique_ptr<ChildProcess> child_;
  std::string end_;  // once killed
};

}  // namespace

absl::StatusOr<std::unique_ptr<LaunchedWorker>> LocalLauncher::Launch(
    const WorkerLaunch& launch) {
  ChildProcess::Options child{.program = options_.program,
                              .arguments = options_.arguments(launch.worker),
                              .environment = options_.environment,
                              .log_file = options_.log_file(launch.worker)};
  child.arguments.push_back("--listen");
  child.arguments.push_back(
      absl::StrCat("unix:", options_.socket_prefix, launch.fencing_number));
  child.environment.push_back(absl::StrCat(kTokenVariable, launch.token));
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> started,
                   ChildProcess::Start(child));
  return std::make_unique<LocalWorker>(std::move(started));
}

}  // namespace dissonance
