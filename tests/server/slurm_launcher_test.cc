// Workers as jobs of a real Slurm: a cluster of this machine's own.
#include "server/control/slurm_launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "server/control/slurm_commands.h"
#include "server/control/slurm_script.h"
#include "src/base/file.h"
#include "tests/testing/slurm_cluster.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::MatchesRegex;
using ::testing::Not;

// In the folder that it gets, it leaves its arguments by the number of times
// that it was run before, and ends with the code in the file `end`. It ends by
// itself after some minutes. With `stubborn` it does not end when asked to.
constexpr char kWorker[] = R"sh(#!/bin/sh
folder=$STAND_IN_FOLDER
trap 'echo asked >"$folder/asked"; exit 0' TERM
if [ "$STAND_IN_KIND" = stubborn ]; then trap '' TERM; fi
printf '%s\n' "$@" >"$folder/new"
mv "$folder/new" "$folder/run.$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"
echo "worker of $SLURM_JOB_ID"
left=3000
while [ ! -e "$folder/end" ] && [ $left -gt 0 ]; do
  sleep 0.05
  left=$((left - 1))
done
exit "$(cat "$folder/end")"
)sh";

class SlurmLauncherTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!SlurmCluster::IsInstalled()) return;
    cluster_ = new SlurmCluster;
    cluster_->AwaitReady();
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }

  void SetUp() override {
    if (cluster_ == nullptr) GTEST_SKIP() << SlurmCluster::kMissing;
    ASSERT_TRUE(cluster_->AwaitReady());
    ASSERT_TRUE(
        WriteFileAtomically(folder_.File("worker"), kWorker, 0700).ok());
  }
  void TearDown() override {
    if (cluster_ != nullptr) cluster_->CancelAll();
    ::close(wake_fd_);
  }

  SlurmLauncher::Options Options(const std::string& kind = "") const {
    SlurmLauncher::Options options;
    options.program = folder_.File("worker");
    options.environment = {absl::StrCat("STAND_IN_FOLDER=", folder_.path()),
                           absl::StrCat("STAND_IN_KIND=", kind)};
    options.folder = folder_.path();
    options.log_file = [this](int worker) {
      return folder_.File(absl::StrCat("worker-100%-", worker, ".log"));
    };
    options.job_name = SlurmJobName(folder_.path());
    options.poll_interval = absl::Milliseconds(100);
    return options;
  }

  std::unique_ptr<SlurmLauncher> Create(
      const SlurmLauncher::Options& options) const {
    auto launcher = SlurmLauncher::Create(options);
    EXPECT_TRUE(launcher.ok()) << launcher.status();
    return launcher.ok() ? *std::move(launcher) : nullptr;
  }

  static std::unique_ptr<LaunchedWorker> Launch(SlurmLauncher& launcher,
                                                int worker = 0) {
    auto launched = launcher.Launch(
        {.worker = worker, .fencing_number = 40 + worker, .token = "a token"});
    EXPECT_TRUE(launched.ok()) << launched.status();
    return launched.ok() ? *std::move(launched) : nullptr;
  }

  static std::string JobOf(const LaunchedWorker& worker) {
    return worker.name().substr(std::string("Slurm job ").size());
  }

  // The arguments that it was run with.
  std::vector<std::string> AwaitRun(const LaunchedWorker& worker,
                                    int restart_count = 0) const {
    const std::string file =
        folder_.File(absl::StrCat("run.", JobOf(worker), ".", restart_count));
    cluster_->Await([&] { return ::access(file.c_str(), F_OK) == 0; });
    return absl::StrSplit(ReadFile(file, 1 << 20).value_or(""), '\n',
                          absl::SkipEmpty());
  }

  void LetEnd(int code) const {
    EXPECT_TRUE(
        WriteFileAtomically(folder_.File("end"), absl::StrCat(code)).ok());
  }

  bool AwaitEnd(LaunchedWorker& worker) const {
    return cluster_->Await(
        [&] { return worker.AwaitEnd(wake_fd_, absl::Seconds(1)); });
  }
  bool AwaitStarted(const LaunchedWorker& worker, bool started = true) const {
    return cluster_->Await([&] { return worker.has_started() == started; });
  }

  static SlurmCluster* cluster_;
  const TempFolder folder_;
  const int wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
};

SlurmCluster* SlurmLauncherTest::cluster_ = nullptr;

TEST_F(SlurmLauncherTest, AWorkerGetsWhatItIsLaunchedWithAndSaysHowItEnded) {
  SlurmLauncher::Options options = Options();
  options.arguments = {"--device", "it's $(here)\n#SBATCH --hold"};
  options.worker_arguments = [](int worker) {
    return std::vector<std::string>{absl::StrCat("--number=", worker)};
  };
  const auto launcher = Create(options);
  const auto worker = Launch(*launcher, 3);
  const std::vector<std::string> arguments = AwaitRun(*worker);
  const std::string token_file = folder_.File("launch-43.token");
  ASSERT_GE(arguments.size(), 2);
  EXPECT_EQ(arguments[0], "--listen");
  EXPECT_THAT(arguments[1], MatchesRegex("[-.a-zA-Z0-9]+:0"));
  EXPECT_EQ(std::vector<std::string>(arguments.begin() + 2, arguments.end()),
            (std::vector<std::string>{
                "--device", "it's $(here)", "#SBATCH --hold", "--number=3",
                "--token-file", token_file, "--restart-count", "0"}));
  EXPECT_EQ(ReadFile(token_file, 4096).value_or(""), "a token");
  struct stat stat = {};
  ASSERT_EQ(::stat(token_file.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0600);
  AwaitStarted(*worker);
  EXPECT_EQ(worker->waits_for(), "");
  EXPECT_TRUE(worker->may_restart());
  EXPECT_EQ(worker->pid(), 0);

  LetEnd(7);
  ASSERT_TRUE(AwaitEnd(*worker));
  EXPECT_THAT(worker->Reap(), MatchesRegex("exit code 7 on node n[12]"));
  EXPECT_FALSE(worker->may_restart());
  EXPECT_EQ(ReadFile(folder_.File("worker-100%-3.log"), 4096).value_or(""),
            absl::StrCat("worker of ", JobOf(*worker), "\n"));
}

TEST_F(SlurmLauncherTest, TheTokenIsGoneWhenTheWorkerIs) {
  const auto launcher = Create(Options());
  auto worker = Launch(*launcher);
  const std::string job = JobOf(*worker);
  AwaitRun(*worker);
  worker.reset();
  EXPECT_THAT(folder_.Names(), Not(Contains("launch-40.token")));
  EXPECT_TRUE(cluster_->Await([&] { return cluster_->HasEnded(job); }));
}

TEST_F(SlurmLauncherTest, TheServersEnvironmentStaysWhereItIs) {
  ::setenv("SOME_API_KEY", "hidden", 1);
  const absl::Cleanup unset = [] { ::unsetenv("SOME_API_KEY"); };
  ASSERT_TRUE(
      WriteFileAtomically(folder_.File("worker"), "#!/bin/sh\nexec env\n", 0700)
          .ok());
  const auto launcher = Create(Options("a kind"));
  const auto worker = Launch(*launcher);
  ASSERT_TRUE(AwaitEnd(*worker));
  EXPECT_THAT(worker->Reap(), HasSubstr("exit code 0"));
  const std::vector<std::string> variables = absl::StrSplit(
      ReadFile(folder_.File("worker-100%-0.log"), 1 << 20).value_or(""), '\n');
  EXPECT_THAT(variables, Contains("STAND_IN_KIND=a kind"));
  EXPECT_THAT(variables, Not(Contains("SOME_API_KEY=hidden")));
}

TEST_F(SlurmLauncherTest, AWorkerThatIsAskedToEndsGently) {
  const auto launcher = Create(Options());
  const auto worker = Launch(*launcher);
  AwaitRun(*worker);
  worker->Terminate();
  ASSERT_TRUE(AwaitEnd(*worker));
  EXPECT_THAT(folder_.Names(), Contains("asked"));
  EXPECT_THAT(worker->Reap(), HasSubstr("exit code 0"));
}

TEST_F(SlurmLauncherTest, AWorkerThatDoesNotEndWhenAskedIsKilledAtOnce) {
  const auto launcher = Create(Options("stubborn"));
  const auto worker = Launch(*launcher);
  AwaitRun(*worker);
  worker->Terminate();
  worker->Kill();
  EXPECT_TRUE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  EXPECT_THAT(worker->Reap(),
              testing::AnyOf(HasSubstr("signal 9"), HasSubstr("cancelled")));
}

TEST_F(SlurmLauncherTest, AJobThatWaitsCanBeKilledAndAskedToEnd) {
  const std::string blocker = cluster_->SubmitSleep("main", 2);
  ASSERT_TRUE(cluster_->AwaitState(blocker, "RUNNING"));
  const auto launcher = Create(Options());
  const auto killed = Launch(*launcher, 0);
  const auto asked = Launch(*launcher, 1);
  EXPECT_FALSE(killed->has_started());
  EXPECT_TRUE(
      cluster_->Await([&] { return killed->waits_for() == "Resources"; }));
  EXPECT_TRUE(killed->may_restart());
  killed->Kill();
  EXPECT_EQ(killed->Reap(), "cancelled");
  asked->Terminate();
  ASSERT_TRUE(AwaitEnd(*asked));
  EXPECT_EQ(asked->Reap(), "cancelled");
  EXPECT_FALSE(asked->has_started());
}

TEST_F(SlurmLauncherTest, ARequeuedJobHasNotEndedAndRunsAgain) {
  const auto launcher = Create(Options());
  const auto worker = Launch(*launcher);
  AwaitRun(*worker);
  AwaitStarted(*worker);
  cluster_->Requeue(JobOf(*worker));
  AwaitStarted(*worker, false);
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  EXPECT_TRUE(worker->may_restart());
  EXPECT_THAT(AwaitRun(*worker, 1), IsSupersetOf({"--restart-count", "1"}));
  AwaitStarted(*worker);
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  LetEnd(0);
  ASSERT_TRUE(AwaitEnd(*worker));
  EXPECT_THAT(worker->Reap(), HasSubstr("exit code 0"));
}

TEST_F(SlurmLauncherTest, AWorkerOfALostNodeRunsAgainOnAnother) {
  const auto launcher = Create(Options());
  const auto worker = Launch(*launcher);
  const std::string job = JobOf(*worker);
  AwaitRun(*worker);
  ASSERT_TRUE(cluster_->AwaitState(job, "RUNNING"));
  const auto node_of = [&] {
    for (const SlurmCluster::Job& found : cluster_->Jobs()) {
      if (found.id == job) return found.node;
    }
    return std::string();
  };
  const std::string lost = node_of();
  ::kill(cluster_->NodePid(lost), SIGSTOP);
  const absl::Cleanup heal = [&] {
    ::kill(cluster_->NodePid(lost), SIGCONT);
    cluster_->SetUp(lost);
  };
  cluster_->SetDown(lost);
  AwaitRun(*worker, 1);
  EXPECT_NE(node_of(), lost);
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  worker->Kill();
  EXPECT_TRUE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
}

TEST_F(SlurmLauncherTest, APreemptedJobHasEndedOnlyIfItDoesNotRunAgain) {
  SlurmLauncher::Options spot_options = Options();
  spot_options.sbatch_options = {
      absl::StrCat("--partition=", SlurmCluster::kSpot)};
  const auto launcher = Create(Options());
  const auto spot_launcher = Create(spot_options);
  const auto worker = Launch(*launcher, 0);
  const auto spot_worker = Launch(*spot_launcher, 1);
  AwaitRun(*worker);
  AwaitRun(*spot_worker);
  const std::string urgent = cluster_->SubmitSleep(SlurmCluster::kUrgent, 2);
  ASSERT_TRUE(AwaitEnd(*spot_worker));
  EXPECT_THAT(spot_worker->Reap(), HasSubstr("preempted"));
  ASSERT_TRUE(cluster_->AwaitState(urgent, "RUNNING"));
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  worker->Kill();
}

TEST_F(SlurmLauncherTest, AControllerThatIsAwayEndsNothingAndIsToldLater) {
  SlurmLauncher::Options options = Options();
  // Less than the commands take to give up.
  options.kill_limit = absl::Milliseconds(100);
  const auto launcher = Create(options);
  auto worker = Launch(*launcher);
  const std::string job = JobOf(*worker);
  AwaitRun(*worker);
  AwaitStarted(*worker);
  cluster_->StopController();
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  worker->Kill();
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::ZeroDuration()));
  EXPECT_THAT(worker->Reap(), HasSubstr("still RUNNING in Slurm on node n"));
  worker.reset();
  cluster_->StartController();
  EXPECT_TRUE(cluster_->Await([&] { return cluster_->HasEnded(job); }));
}

TEST_F(SlurmLauncherTest, ItReturnsWhenItIsWoken) {
  const auto launcher = Create(Options());
  const auto worker = Launch(*launcher);
  ::eventfd_write(wake_fd_, 1);
  EXPECT_FALSE(worker->AwaitEnd(wake_fd_, absl::InfiniteDuration()));
  eventfd_t woken = 0;
  EXPECT_NE(::eventfd_read(wake_fd_, &woken), 0) << "it was not read";
}

TEST_F(SlurmLauncherTest, JobsOfAnEarlierServerAreEndedAndNoOthers) {
  const auto slurm = SlurmCommands::Find();
  ASSERT_TRUE(slurm.ok()) << slurm.status();
  const std::string script = "#!/bin/sh\nexec sleep 600\n";
  const SlurmLauncher::Options options = Options();
  const auto orphan = slurm->Submit(
      script, {"--job-name=" + options.job_name, "--output=/dev/null"});
  const auto other = slurm->Submit(
      script, {"--job-name=" + SlurmJobName("/else"), "--output=/dev/null"});
  ASSERT_TRUE(orphan.ok() && other.ok());
  ASSERT_TRUE(cluster_->AwaitState(*other, "RUNNING"));
  ASSERT_TRUE(
      WriteFileAtomically(folder_.File("launch-7.token"), "old", 0600).ok());
  const auto launcher = Create(options);
  EXPECT_TRUE(cluster_->Await([&] { return cluster_->HasEnded(*orphan); }));
  EXPECT_EQ(cluster_->StateOf(*other), "RUNNING");
  EXPECT_THAT(folder_.Names(), Not(Contains("launch-7.token")));
  EXPECT_THAT(folder_.Names(), Contains("worker"));
}

TEST_F(SlurmLauncherTest, WhatIsWrongForGoodIsFoundAtTheStart) {
  const auto create = [&](const std::string& option) {
    SlurmLauncher::Options options = Options();
    options.sbatch_options = {option};
    return SlurmLauncher::Create(options).status();
  };
  for (const char* option :
       {"--partition=nowhere", "--gres=unicorn:1", "--no-such-option",
        "--array=1-3", "--arra=1-3", "--wrap=true", "-M other", "gpu"}) {
    const absl::Status status = create(option);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << option << ": " << status;
  }
  EXPECT_THAT(std::string(create("--partition=nowhere").message()),
              HasSubstr("invalid partition specified: nowhere"));

  SlurmLauncher::Options no_worker = Options();
  no_worker.program = folder_.File("none");
  EXPECT_TRUE(absl::IsNotFound(SlurmLauncher::Create(no_worker).status()));

  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder_.path().c_str(), 1);
  const absl::Status no_slurm = SlurmLauncher::Create(Options()).status();
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_TRUE(absl::IsNotFound(no_slurm)) << no_slurm;
  EXPECT_THAT(std::string(no_slurm.message()), HasSubstr("sbatch"));
}

TEST_F(SlurmLauncherTest, NodesThatAreAwayDoNotKeepTheServerFromStarting) {
  cluster_->SetDown("n1");
  cluster_->SetDown("n2");
  const absl::Cleanup heal = [] {
    cluster_->SetUp("n1");
    cluster_->SetUp("n2");
  };
  const auto launcher = Create(Options());
  ASSERT_NE(launcher, nullptr);
  const auto worker = Launch(*launcher);
  ASSERT_NE(worker, nullptr);
  EXPECT_FALSE(worker->has_started());
  worker->Kill();
  EXPECT_EQ(worker->Reap(), "cancelled");
}

TEST(SlurmClusterTest, LeavesNoProcessBehind) {
  if (!SlurmCluster::IsInstalled()) GTEST_SKIP() << SlurmCluster::kMissing;
  const TempFolder folder;
  const std::string file = folder.File("pid");
  auto cluster = std::make_unique<SlurmCluster>();
  ASSERT_TRUE(cluster->AwaitReady());
  const auto slurm = SlurmCommands::Find();
  ASSERT_TRUE(slurm.ok()) << slurm.status();
  const auto job = slurm->Submit(
      absl::StrCat("#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $! >",
                   ShellQuote(file + ".new"), "\nmv ",
                   ShellQuote(file + ".new"), " ", ShellQuote(file),
                   "\nwait\n"),
      {"--output=/dev/null"});
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_TRUE(
      cluster->Await([&] { return ::access(file.c_str(), F_OK) == 0; }));
  pid_t pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(ReadFile(file, 64).value_or(""), &pid));
  ASSERT_EQ(::kill(pid, 0), 0);
  ::kill(cluster->NodePid("n1"), SIGSTOP);
  cluster.reset();
  // It is gone, or was killed and waits to be seen to.
  const std::string stat =
      ReadFile(absl::StrCat("/proc/", pid, "/stat"), 4096).value_or("");
  EXPECT_TRUE(stat.empty() || absl::StrContains(stat, ") Z ")) << stat;
}

}  // namespace
}  // namespace dissonance
