// A supervised worker, with a launcher that the test plays and a scripted
// worker behind real sockets.
#include "server/control/worker_supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>

#include "dissonance/v1/inference.pb.h"
#include "grpcpp/security/credentials.h"
#include "src/lab/storage/database.h"
#include "tests/server/control/scripted_worker.h"
#include "tests/testing/hand_clock.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

// What a launcher knows of one launch, told by the test.
struct Played {
  std::string token;
  bool may_restart = false;
  int end_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  absl::Notification terminated;
  absl::Notification killed;

  ~Played() { ::close(end_fd); }
  void End() const { ::eventfd_write(end_fd, 1); }
};

class PlayedWorker final : public LaunchedWorker {
 public:
  explicit PlayedWorker(std::shared_ptr<Played> played)
      : played_(std::move(played)) {}

  bool AwaitEnd(int wake_fd, absl::Duration timeout) override {
    pollfd fds[] = {{played_->end_fd, POLLIN, 0}, {wake_fd, POLLIN, 0}};
    ::poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
    eventfd_t ignored = 0;
    if ((fds[1].revents & POLLIN) != 0) ::eventfd_read(wake_fd, &ignored);
    return (fds[0].revents & POLLIN) != 0;
  }
  void Terminate() override {
    played_->terminated.Notify();
    played_->End();
  }
  void Kill() override { played_->killed.Notify(); }
  std::string Reap() override { return "as played"; }
  std::string name() const override { return "job 7"; }
  int pid() const override { return 0; }
  bool has_started() const override { return true; }
  std::string waits_for() const override { return "Resources"; }
  bool may_restart() const override { return played_->may_restart; }

 private:
  const std::shared_ptr<Played> played_;
};

class PlayedLauncher final : public WorkerLauncher {
 public:
  explicit PlayedLauncher(bool may_restart) : may_restart_(may_restart) {}

  absl::StatusOr<std::unique_ptr<LaunchedWorker>> Launch(
      const WorkerLaunch& launch) override {
    auto played = std::make_shared<Played>();
    played->token = launch.token;
    played->may_restart = may_restart_;
    const absl::MutexLock lock(&mutex_);
    launches_.push_back(played);
    return std::make_unique<PlayedWorker>(std::move(played));
  }
  // Launch `index`, once it came.
  std::shared_ptr<Played> Await(size_t index) {
    const absl::MutexLock lock(&mutex_);
    const auto came = [this, index]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return launches_.size() > index;
    };
    mutex_.Await(absl::Condition(&came));
    return launches_[index];
  }
  size_t count() {
    const absl::MutexLock lock(&mutex_);
    return launches_.size();
  }

 private:
  const bool may_restart_;
  absl::Mutex mutex_;
  std::deque<std::shared_ptr<Played>> launches_ ABSL_GUARDED_BY(mutex_);
};

class WorkerSupervisorTest : public ::testing::TestWithParam<bool> {
 protected:
  WorkerSupervisorTest() { supervisor_.Start(); }
  ~WorkerSupervisorTest() override { supervisor_.Stop(); }

  // Says that a worker of the launch is at the other end of `worker`.
  Lease Register(const Played& launch, const ScriptedWorker& worker,
                 int restart_count) {
    const auto lease =
        leases_.Register(launch.token, {.address = worker.address(),
                                        .pid = 40 + restart_count,
                                        .device = "cpu",
                                        .restart_count = restart_count});
    EXPECT_TRUE(lease.ok()) << lease.status();
    supervisor_.Wake();
    return *lease;
  }
  void AwaitReady(bool ready) {
    const absl::MutexLock lock(&mutex_);
    const auto is_so = [this, ready]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return ready_ == ready;
    };
    mutex_.Await(absl::Condition(&is_so));
  }
  // Until it has become ready so often: in between it may not be for so short
  // that nobody sees it.
  void AwaitReadyTimes(int count) {
    const absl::MutexLock lock(&mutex_);
    const auto is_so = [this, count]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return ready_count_ == count;
    };
    mutex_.Await(absl::Condition(&is_so));
  }
  absl::Status Score() {
    v1::ScoreResponse response;
    return CallWorker(route_.For(NamedModels()).channel,
                      "/dissonance.v1.Inference/Score", v1::ScoreRequest(),
                      response, {});
  }

  ScriptedWorker first_;
  ScriptedWorker second_;
  const TempFolder folder_;
  HandClock clock_;
  const std::unique_ptr<FencingNumbers> numbers_ =
      *FencingNumbers::Open(folder_.File("fencing"));
  WorkerLeases leases_{{.heartbeat_interval = absl::Milliseconds(10),
                        .hang_limit = absl::Seconds(10)},
                       *numbers_,
                       clock_};
  WorkerRoute route_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = folder_.path()});
  ModelStore models_{*database_};
  ArtifactIndex index_{*database_};
  const std::unique_ptr<ArtifactStore> artifacts_ =
      *ArtifactStore::Create(folder_.path(), index_, Clock::Real());
  ModelCatalog catalog_{{.store = models_,
                         .artifacts = *artifacts_,
                         .data_dir = folder_.path(),
                         .route = route_}};
  PlayedLauncher launcher_{/*may_restart=*/GetParam()};
  absl::Mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  int ready_count_ ABSL_GUARDED_BY(mutex_) = 0;
  WorkerSupervisor supervisor_{
      {.name = "workers/played",
       .max_message_bytes = 1 << 20,
       .start_limit = absl::InfiniteDuration(),
       .first_backoff = absl::Milliseconds(1),
       .max_backoff = absl::Milliseconds(1)},
      {.launcher = launcher_,
       .leases = leases_,
       .route = route_,
       .catalog = catalog_,
       .credentials = grpc::InsecureChannelCredentials(),
       .on_ready = [this](bool ready) {
         const absl::MutexLock lock(&mutex_);
         ready_ = ready;
         ready_count_ += ready ? 1 : 0;
       }}};
};

using ClusterWorkerTest = WorkerSupervisorTest;
using LocalWorkerTest = WorkerSupervisorTest;
INSTANTIATE_TEST_SUITE_P(Cluster, ClusterWorkerTest, ::testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Local, LocalWorkerTest, ::testing::Values(false));

TEST_P(ClusterWorkerTest, AJobThatIsRunAgainFencesItsFirstRunOff) {
  const auto launch = launcher_.Await(0);
  first_.Play({.message_count = 0, .stays_open = true});
  const Lease stale = Register(*launch, first_, 0);
  AwaitReady(true);
  absl::Status of_stale;
  std::thread call([&] { of_stale = Score(); });
  const auto arrived = first_.AwaitCall(0);

  const Lease lease = Register(*launch, second_, 1);
  call.join();
  EXPECT_TRUE(absl::IsUnavailable(of_stale)) << of_stale;
  arrived->is_cancelled.WaitForNotification();
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(stale.id, stale.fencing_number, {})));
  EXPECT_TRUE(leases_.Beat(lease.id, lease.fencing_number, {}).ok());
  AwaitReadyTimes(2);
  EXPECT_TRUE(Score().ok());
  EXPECT_EQ(second_.AwaitCall(0)->method, "/dissonance.v1.Inference/Score");
  const v1::Worker worker = supervisor_.Describe();
  EXPECT_EQ(worker.state(), v1::WORKER_STATE_READY);
  EXPECT_EQ(worker.fencing_number(), lease.fencing_number);
  EXPECT_EQ(worker.pid(), 41);
  EXPECT_EQ(worker.launched_as(), "job 7");
  EXPECT_EQ(worker.waits_for(), "Resources");
  EXPECT_EQ(worker.restart_count(), 1);
  EXPECT_EQ(launcher_.count(), 1U);
}

TEST_P(ClusterWorkerTest, OneThatFellSilentIsWaitedForInAnotherRun) {
  const auto launch = launcher_.Await(0);
  const Lease stale = Register(*launch, first_, 0);
  AwaitReady(true);
  clock_.Advance(absl::Seconds(1));
  AwaitReady(false);
  EXPECT_TRUE(absl::IsUnavailable(Score()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      leases_.Beat(stale.id, stale.fencing_number, {})));
  EXPECT_FALSE(launch->killed.HasBeenNotified());
  Register(*launch, second_, 1);
  AwaitReady(true);
  EXPECT_TRUE(Score().ok());
  EXPECT_EQ(launcher_.count(), 1U);
}

TEST_P(ClusterWorkerTest, OneThatHangsIsEndedAndLaunchedAnew) {
  const auto launch = launcher_.Await(0);
  const Lease lease = Register(*launch, first_, 0);
  AwaitReady(true);
  // It beats, but gets nothing done.
  const absl::Duration begin = clock_.Monotonic();
  while (!launch->killed.HasBeenNotified()) {
    clock_.Advance(absl::Milliseconds(20));
    (void)leases_.Beat(lease.id, lease.fencing_number,
                       {.step_count = 1, .busy = true});
    std::this_thread::yield();
  }
  EXPECT_GT(clock_.Monotonic() - begin, absl::Seconds(10));
  launcher_.Await(1);
}

TEST_P(LocalWorkerTest, OneThatFellSilentIsKilledAndLaunchedAnew) {
  const auto launch = launcher_.Await(0);
  Register(*launch, first_, 0);
  AwaitReady(true);
  clock_.Advance(absl::Seconds(1));
  launch->killed.WaitForNotification();
  const auto next = launcher_.Await(1);
  EXPECT_NE(next->token, launch->token);
  Register(*next, second_, 0);
  AwaitReady(true);
  EXPECT_EQ(supervisor_.Describe().restart_count(), 1);
  EXPECT_THAT(supervisor_.Describe().last_exit(),
              ::testing::HasSubstr("no heartbeat"));
}

TEST_P(LocalWorkerTest, OneThatWasDroppedIsKilledAndLaunchedAnew) {
  const auto launch = launcher_.Await(0);
  Register(*launch, first_, 0);
  AwaitReady(true);
  route_.Drop(route_.For(NamedModels()).channel, "it did not hear of X");
  supervisor_.Wake();
  launch->killed.WaitForNotification();
  launcher_.Await(1);
  EXPECT_EQ(supervisor_.Describe().last_exit(), "killed: it did not hear of X");
}

TEST_P(LocalWorkerTest, OneThatReportsButCannotBeCalledIsReplaced) {
  const auto launch = launcher_.Await(0);
  const Lease lease = Register(*launch, first_, 0);
  AwaitReady(true);
  first_.Kill();
  EXPECT_TRUE(absl::IsUnavailable(Score()));
  // It beats on: the clock that its lease goes by stands still.
  launch->killed.WaitForNotification();
  EXPECT_TRUE(launcher_.Await(1) != nullptr);
  EXPECT_THAT(supervisor_.Describe().last_exit(),
              ::testing::HasSubstr("job 7 reports, but can't be called"));
}

TEST_P(LocalWorkerTest, OneThatIsNotWantedFirstDoesWhatItHas) {
  const auto launch = launcher_.Await(0);
  first_.Play({.message_count = 0, .stays_open = true});
  Register(*launch, first_, 0);
  AwaitReady(true);
  const WorkerChannel channel = route_.For(NamedModels()).channel;
  std::atomic<bool> cancelled = false;
  std::thread call([&] {
    v1::ScoreResponse response;
    (void)CallWorker(channel, "/dissonance.v1.Inference/Score",
                     v1::ScoreRequest(), response,
                     {.cancelled = [&] { return cancelled.load(); }});
  });
  first_.AwaitCall(0);
  supervisor_.SetWanted(false);
  AwaitReady(false);
  EXPECT_EQ(route_.For(NamedModels()).channel, nullptr);
  EXPECT_FALSE(launch->terminated.HasBeenNotified());
  cancelled = true;
  call.join();
  launch->terminated.WaitForNotification();

  supervisor_.SetWanted(true);
  const auto next = launcher_.Await(1);
  Register(*next, second_, 0);
  AwaitReady(true);
  EXPECT_EQ(supervisor_.Describe().restart_count(), 0);
}

}  // namespace
}  // namespace dissonance
