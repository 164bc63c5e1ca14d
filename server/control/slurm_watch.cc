#include "server/control/slurm_watch.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"

namespace dissonance {
namespace {

// How long somebody is taken to wait for the end that he asked for.
constexpr absl::Duration kPatience = absl::Minutes(2);
// A controller that took over from another may lack the newest jobs at first.
constexpr int kMissingLimit = 2;
// How long a node is taken to answer. A signal is lost, too, if the script has
// yet to begin.
constexpr absl::Duration kAnswerLimit = absl::Seconds(5);

}  // namespace

FollowedJob::FollowedJob(const std::string& id)
    : id_(id), end_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  latest_.id = id;
  latest_.state = "PENDING";
}

FollowedJob::~FollowedJob() { ::close(end_fd_); }

SlurmJob FollowedJob::latest() const {
  const absl::MutexLock lock(&mutex_);
  return latest_;
}

bool FollowedJob::has_ended() const {
  const absl::MutexLock lock(&mutex_);
  return !end_.empty();
}

std::string FollowedJob::end() const {
  const absl::MutexLock lock(&mutex_);
  return end_;
}

bool FollowedJob::is_ending() const {
  const absl::MutexLock lock(&mutex_);
  return wish_ != Wish::kNone;
}

SlurmWatch::SlurmWatch(const SlurmCommands& slurm, Options options)
    : slurm_(slurm), options_(std::move(options)), thread_([this] { Run(); }) {}

SlurmWatch::~SlurmWatch() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changes_.SignalAll();
  }
  thread_.join();
}

std::shared_ptr<FollowedJob> SlurmWatch::Follow(const std::string& id) {
  auto job = std::make_shared<FollowedJob>(id);
  const absl::MutexLock lock(&mutex_);
  jobs_.push_back(job);
  changes_.SignalAll();
  return job;
}

void SlurmWatch::SetWish(FollowedJob& job, Wish wish) {
  {
    const absl::MutexLock lock(&job.mutex_);
    if (job.wish_ >= wish) return;
    job.wish_ = wish;
    job.wish_time_ = Clock::Real().Monotonic();
  }
  const absl::MutexLock lock(&mutex_);
  has_wishes_ = true;
  changes_.SignalAll();
}

bool SlurmWatch::stopping() const {
  const absl::MutexLock lock(&mutex_);
  return stopping_;
}

void SlurmWatch::Run() {
  while (true) {
    const Jobs jobs = AwaitTurn();
    const bool is_last = stopping();
    if (Ask(jobs)) {
      for (const auto& job : jobs) TellWish(*job);
    }
    if (is_last) return;
  }
}

SlurmWatch::Jobs SlurmWatch::AwaitTurn() {
  const absl::MutexLock lock(&mutex_);
  while (!stopping_ && !has_wishes_) {
    if (jobs_.empty()) {
      changes_.Wait(mutex_);
      continue;
    }
    const absl::Duration now = Clock::Real().Monotonic();
    const bool is_urgent =
        std::any_of(jobs_.begin(), jobs_.end(), [now](const auto& job) {
          const absl::MutexLock lock(&job->mutex_);
          return job->wish_ != Wish::kNone && now - job->wish_time_ < kPatience;
        });
    const absl::Duration left =
        last_question_ +
        (is_urgent ? options_.short_interval : options_.interval) - now;
    if (left <= absl::ZeroDuration()) break;
    changes_.WaitWithTimeout(mutex_, left);
  }
  has_wishes_ = false;
  return jobs_;
}

void SlurmWatch::TellWish(FollowedJob& job) const {
  Wish wish;
  SlurmJob latest;
  {
    const absl::MutexLock lock(&job.mutex_);
    // Whoever ends gently is not told so twice.
    if (!job.end_.empty() || job.wish_ == Wish::kNone ||
        (job.wish_ == Wish::kTerminate && job.told_ == Wish::kTerminate)) {
      return;
    }
    wish = job.wish_;
    latest = job.latest_;
    if (wish == Wish::kKill &&
        Clock::Real().Monotonic() - job.wish_time_ > kAnswerLimit) {
      wish = Wish::kCancel;
    }
  }
  const absl::Status status = Tell(latest, wish);
  if (!status.ok()) {
    spdlog::warn("Slurm job {} is not told to end yet: {}", job.id(),
                 std::string(status.message()));
    return;
  }
  const absl::MutexLock lock(&job.mutex_);
  job.told_ = wish;
}

absl::Status SlurmWatch::Tell(const SlurmJob& job, Wish wish) const {
  if (job.state == "COMPLETING") return absl::OkStatus();
  if (wish == Wish::kKill) return slurm_.Kill(job.id);
  if (wish == Wish::kCancel) return slurm_.Cancel(job.id);
  if (job.phase == SlurmPhase::kQueued) return slurm_.CancelQueued(job.id);
  if (job.phase == SlurmPhase::kRunning) return slurm_.Terminate(job.id);
  return absl::UnavailableError(absl::StrCat("it is ", job.state));
}

bool SlurmWatch::Ask(const Jobs& jobs) {
  const absl::StatusOr<std::vector<SlurmJob>> answer =
      slurm_.Jobs(options_.name);
  last_question_ = Clock::Real().Monotonic();
  if (!answer.ok()) {
    // It says nothing of the jobs, which run on without the controller.
    if (!is_away_) {
      spdlog::warn("Slurm does not say how its jobs are: {}",
                   std::string(answer.status().message()));
    }
    is_away_ = true;
    return false;
  }
  if (is_away_) spdlog::info("Slurm answers again");
  is_away_ = false;
  std::map<std::string, SlurmJob> listed;
  for (const SlurmJob& job : *answer) listed[job.id] = job;
  for (const auto& job : jobs) {
    if (!Update(*job, listed)) continue;
    ::eventfd_write(job->end_fd(), 1);
    const absl::MutexLock lock(&mutex_);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
  }
  return true;
}

bool SlurmWatch::Update(FollowedJob& job,
                        const std::map<std::string, SlurmJob>& listed) const {
  std::string seen = "Slurm does not know the job any more";
  if (const auto found = listed.find(job.id()); found != listed.end()) {
    job.missing_count_ = 0;
    const absl::MutexLock lock(&job.mutex_);
    job.latest_ = found->second;
    // Whatever it was told before, it waits to run, or to run again.
    if (job.latest_.phase == SlurmPhase::kQueued) job.told_ = Wish::kNone;
    if (job.latest_.phase != SlurmPhase::kEnded) return false;
    seen = absl::StrCat(job.latest_.state, " ", job.latest_.reason);
  } else if (++job.missing_count_ < kMissingLimit) {
    return false;
  }
  const absl::StatusOr<std::string> end = slurm_.EndOf(job.id());
  const absl::MutexLock lock(&job.mutex_);
  job.end_ = end.value_or(seen);
  return true;
}

}  // namespace dissonance
