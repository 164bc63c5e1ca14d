// Workers as jobs of a real Slurm: a pipeline gives what it gives on one
// machine, though one of them is killed and another one's node is lost while
// the worker on it still runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/pipeline_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/slurm_cluster.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

std::string Config(const std::string& more_of_worker) {
  return absl::StrCat(kPipelineConfig, "launcher = \"slurm\"\n",
                      "heartbeat_seconds = 1.0\n", more_of_worker,
                      "[slurm]\npoll_seconds = 0.2\nhost = \"127.0.0.1\"\n");
}

class SlurmTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!SlurmCluster::IsInstalled()) return;
    // Before the cluster: it has a server of its own.
    UndisturbedPipeline();
    cluster_ = new SlurmCluster(/*node_count=*/3);
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }
  void SetUp() override {
    if (cluster_ == nullptr) GTEST_SKIP() << SlurmCluster::kMissing;
    ASSERT_TRUE(cluster_->AwaitReady());
  }

  static bool AwaitReady(ServerProcess& server, int worker) {
    return cluster_->Await([&] {
      return server.Info().workers(worker).state() == v1::WORKER_STATE_READY;
    });
  }
  // Of a worker that runs.
  static SlurmCluster::Job JobOf(ServerProcess& server, int worker) {
    const std::string id = server.Info().workers(worker).launched_as().substr(
        std::string("Slurm job ").size());
    for (const SlurmCluster::Job& job : cluster_->Jobs()) {
      if (job.id == id) return job;
    }
    return {};
  }
  // The job of a server's worker that goes on without it.
  static std::string JobOfAKilledServer(const TempFolder& folder) {
    ServerProcess server({.data_dir = folder.path(), .config = Config("")});
    EXPECT_TRUE(server.AwaitServing());
    const std::string job = JobOf(server, 0).id;
    server.Signal(SIGKILL);
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
    return job;
  }
  // Jobs that are not over.
  static int LiveJobs() {
    int count = 0;
    for (const SlurmCluster::Job& job : cluster_->Jobs()) {
      count += job.state == "RUNNING" || job.state == "PENDING";
    }
    return count;
  }

  static inline SlurmCluster* cluster_ = nullptr;
};

TEST_F(SlurmTest, WithOneWorkerKilledAndAStaleOneFencedAPipelineGivesTheSame) {
  const TempFolder folder;
  ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder),
                        .config = Config("count = 2\n")});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(AwaitReady(server, 0));
  ASSERT_TRUE(AwaitReady(server, 1));
  const auto job = CreateJob(server, SmallPipeline(), "");
  ASSERT_TRUE(job.ok()) << job.status();

  // One is killed: its job fails, and another one is submitted.
  ASSERT_TRUE(JobEvents(server, job->name()).Await("stage train: "));
  const std::string killed = JobOf(server, 0).id;
  ASSERT_EQ(::kill(server.Info().workers(0).pid(), SIGKILL), 0);
  ASSERT_TRUE(cluster_->Await([&] {
    return server.Info().workers(0).restart_count() == 1 &&
           server.Info().workers(0).state() == v1::WORKER_STATE_READY;
  }));
  EXPECT_NE(JobOf(server, 0).id, killed);

  // The other one's node is lost to Slurm, which runs the job elsewhere. The
  // worker there knows nothing of it.
  ASSERT_TRUE(JobEvents(server, job->name()).Await("stage mcq: "));
  const v1::Worker stale = server.Info().workers(1);
  const SlurmCluster::Job before = JobOf(server, 1);
  ASSERT_EQ(before.state, "RUNNING");
  ::kill(cluster_->NodePid(before.node), SIGSTOP);
  cluster_->SetDown(before.node);
  ASSERT_TRUE(cluster_->Await([&] {
    const v1::Worker now = server.Info().workers(1);
    return now.state() == v1::WORKER_STATE_READY &&
           now.fencing_number() > stale.fencing_number();
  }));
  EXPECT_EQ(server.Info().workers(1).launched_as(), stale.launched_as())
      << "run again, not submitted again";
  EXPECT_NE(JobOf(server, 1).node, before.node);
  EXPECT_NE(server.Info().workers(1).pid(), stale.pid());
  // It learns that its lease is over by its next heartbeat.
  EXPECT_TRUE(cluster_->Await([&] {
    return absl::StrContains(
        ReadFile(folder.File("logs/worker-1.log"), 1 << 20).value_or(""),
        absl::StrCat("the lease is lost: the lease with fencing number ",
                     stale.fencing_number(), " is no longer held"));
  }));

  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  const auto files = ResultFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, UndisturbedPipeline());
  EXPECT_EQ(server.Stop(), 0);
  ::kill(cluster_->NodePid(before.node), SIGCONT);
  cluster_->SetUp(before.node);
  EXPECT_TRUE(cluster_->Await([] { return LiveJobs() == 0; }));
}

TEST_F(SlurmTest, APreemptedWorkerComesBackWhenThereIsRoom) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = FineTuneWorld::Get().CopyTo(folder), .config = Config("")});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(AwaitReady(server, 0));
  const v1::Worker before = server.Info().workers(0);
  const std::string urgent =
      cluster_->SubmitSleep(SlurmCluster::kUrgent, /*nodes=*/3);
  ASSERT_TRUE(cluster_->Await([&] {
    return server.Info().workers(0).state() == v1::WORKER_STATE_STARTING;
  }));
  EXPECT_TRUE(server.AwaitNotServing());
  cluster_->Cancel(urgent);
  ASSERT_TRUE(AwaitReady(server, 0));
  EXPECT_EQ(server.Info().workers(0).launched_as(), before.launched_as());
  EXPECT_GT(server.Info().workers(0).fencing_number(), before.fencing_number());
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(SlurmTest, JobsOfAServerThatWasKilledAreCancelledByTheNext) {
  const TempFolder folder;
  const std::string left = JobOfAKilledServer(folder);
  ServerProcess server({.data_dir = folder.path(), .config = Config("")});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_NE(JobOf(server, 0).id, left);
  EXPECT_TRUE(cluster_->Await([] { return LiveJobs() == 1; }));
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(SlurmTest, AServerThatStartsWithoutTheControllerHasWorkersOnceItIsBack) {
  const TempFolder folder;
  const std::string left = JobOfAKilledServer(folder);
  cluster_->StopController();
  ServerProcess server({.data_dir = folder.path(), .config = Config("")});
  EXPECT_TRUE(cluster_->Await([&] {
    return absl::StrContains(server.Log(),
                             "no workers yet: Slurm's controller does not");
  }));
  cluster_->StartController();
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_NE(JobOf(server, 0).id, left);
  EXPECT_TRUE(cluster_->Await([] { return LiveJobs() == 1; }));
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(SlurmTest, WhatSlurmRefusesIsOneClearLine) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .config =
           absl::StrCat(Config(""), "options = [\"--partition=nowhere\"]\n")});
  EXPECT_EQ(server.AwaitExit(), 1);
  EXPECT_THAT(server.Log(), HasSubstr("nowhere"));
  EXPECT_EQ(LiveJobs(), 0);
}

}  // namespace
}  // namespace dissonance
