#include "tests/endurance/storm_server.h"

#include <algorithm>
#include <csignal>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "src/base/status_macros.h"
#include "tests/endurance/process_figures.h"

namespace dissonance {
namespace {

// Long enough for jobs to get on between kills, short enough to hit every
// stage of them.
constexpr absl::Duration kMostCalm = absl::Milliseconds(1500);
// About what a start takes.
constexpr absl::Duration kMostEarly = absl::Milliseconds(400);
// One kill in so many comes while the server starts.
constexpr int kEarlyOneIn = 4;
constexpr absl::Duration kPause = absl::Milliseconds(10);

}  // namespace

absl::Duration StormServer::RandomDelay(absl::Duration most) {
  return most * std::uniform_real_distribution<double>(0.0, 1.0)(random_);
}

StormServer::Victim StormServer::ChooseVictim() {
  switch (random_() % 5) {
    case 0:
      return Victim::kBoth;
    case 1:
    case 2:
      return Victim::kWorker;
    default:
      return Victim::kControl;
  }
}

pid_t StormServer::Worker() const {
  const std::vector<pid_t> workers = WorkersOn(options_.data_dir);
  return workers.empty() ? 0 : workers.front();
}

void StormServer::KillControl() {
  server_->Signal(SIGKILL);
  server_->AwaitExit();
  server_ = std::make_unique<ServerProcess>(options_);
}

absl::Status StormServer::Start() {
  server_ = std::make_unique<ServerProcess>(options_);
  return Settle();
}

absl::Status StormServer::AwaitServing(pid_t old_worker) {
  const absl::Time deadline = absl::Now() + ServerProcess::kPatience;
  // Health says SERVING until the server has seen its worker's end.
  const auto is_new = [old_worker](pid_t pid) { return pid != old_worker; };
  while (absl::c_none_of(WorkersOn(options_.data_dir), is_new)) {
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("no worker follows the killed one, process ", old_worker,
                       "; see ", options_.data_dir, "/test.log"));
    }
    absl::SleepFor(kPause);
  }
  if (!server_->AwaitServing()) {
    return absl::DeadlineExceededError(
        absl::StrCat("the server does not serve after a kill; see ",
                     options_.data_dir, "/test.log"));
  }
  if (!absl::c_linear_search(WorkersOn(options_.data_dir), old_worker)) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("the killed server's worker, process ", old_worker,
                   ", runs beside the new one's on ", options_.data_dir));
}

absl::Status StormServer::Kill() {
  const Victim victim = ChooseVictim();
  const bool next_is_early = random_() % kEarlyOneIn == 0;
  const pid_t worker = Worker();
  const absl::Time begin = absl::Now();
  if (victim != Victim::kControl && worker != 0) ::kill(worker, SIGKILL);
  if (victim != Victim::kWorker) KillControl();
  switch (victim) {
    case Victim::kControl:
      ++figures_.control_kill_count;
      break;
    case Victim::kWorker:
      ++figures_.worker_kill_count;
      break;
    case Victim::kBoth:
      ++figures_.both_kill_count;
      break;
  }
  if (next_is_early) {
    ++figures_.early_kill_count;
    absl::SleepFor(RandomDelay(kMostEarly));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(AwaitServing(worker));
  figures_.seconds_to_serve.push_back(
      absl::ToDoubleSeconds(absl::Now() - begin));
  absl::SleepFor(RandomDelay(kMostCalm));
  return absl::OkStatus();
}

absl::Status StormServer::Settle() {
  RETURN_IF_ERROR(AwaitServing(/*old_worker=*/0));
  const absl::Time deadline = absl::Now() + ServerProcess::kPatience;
  while (WorkersOn(options_.data_dir).size() != 1) {
    if (absl::Now() > deadline) {
      return absl::InternalError(
          absl::StrCat(WorkersOn(options_.data_dir).size(), " workers run on ",
                       options_.data_dir, ", expected 1"));
    }
    absl::SleepFor(kPause);
  }
  return absl::OkStatus();
}

absl::Status StormServer::Stop() {
  const int code = server_->Stop();
  if (code != 0) {
    return absl::InternalError(
        absl::StrCat("the server ended with code ", code, " on SIGTERM"));
  }
  const std::vector<pid_t> left = WorkersOn(options_.data_dir);
  if (left.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("process ", left.front(),
                                          " of a worker outlived its server"));
}

}  // namespace dissonance
