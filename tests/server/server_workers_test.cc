// Several workers behind one control plane: everything is in each of them,
// calls are shared out, and none is missed when it is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/pipeline_fixture.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/http_client.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

v1::WorkerState StateOf(ServerProcess& server, int worker) {
  return server.Info().workers(worker).state();
}

// Asks again and again, until patience ends.
bool AwaitState(ServerProcess& server, int worker, v1::WorkerState state) {
  const absl::Time deadline = absl::Now() + ServerProcess::kPatience;
  while (absl::Now() < deadline) {
    if (StateOf(server, worker) == state) return true;
  }
  return false;
}

bool AwaitAllReady(ServerProcess& server) {
  if (!server.AwaitServing()) return false;
  for (int i = 0; i < server.Info().workers_size(); ++i) {
    if (!AwaitState(server, i, v1::WORKER_STATE_READY)) return false;
  }
  return true;
}

// The last one may have been killed when it had nothing more to do.
bool AwaitRestarts(ServerProcess& server, int worker, int count) {
  const absl::Time deadline = absl::Now() + ServerProcess::kPatience;
  while (absl::Now() < deadline) {
    if (server.Info().workers(worker).restart_count() == count) return true;
  }
  return false;
}

void KillWorker(ServerProcess& server, int worker) {
  // Not one that is about to start, which has no process yet.
  ASSERT_TRUE(AwaitState(server, worker, v1::WORKER_STATE_READY));
  const pid_t pid = server.Info().workers(worker).pid();
  ASSERT_GT(pid, 0);
  ::kill(pid, SIGKILL);
}

TEST(WorkersTest, APipelineOfTwoWorkersThatAreKilledGivesTheSame) {
  ASSERT_TRUE(UndisturbedPipeline().contains("report.html"));
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = FineTuneWorld::Get().CopyTo(folder),
       .config = absl::StrCat(kPipelineConfig, "count = 2\n")});
  ASSERT_TRUE(AwaitAllReady(server));
  const auto job = CreateJob(server, SmallPipeline(), "");
  ASSERT_TRUE(job.ok()) << job.status();
  const char* const places[] = {
      "stage train: ", "stage mcq: ", "stage steer: "};
  int next = 0;
  for (const char* place : places) {
    ASSERT_TRUE(JobEvents(server, job->name()).Await(place)) << place;
    KillWorker(server, next);
    next = 1 - next;
  }
  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  const auto files = ResultFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, UndisturbedPipeline());
  EXPECT_TRUE(AwaitRestarts(server, 0, 2));
  EXPECT_TRUE(AwaitRestarts(server, 1, 1));
  EXPECT_EQ(server.Stop(), 0);
}

// One that is killed stays away.
constexpr char kTwoWithoutReturn[] =
    "http_listen = \"127.0.0.1:0\"\n[worker]\ncount = 2\n"
    "heartbeat_seconds = 1.0\nfirst_backoff_seconds = 600\n"
    "max_backoff_seconds = 600\n";

class TwoWorkersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(AwaitAllReady(server_));
    ASSERT_TRUE(
        LoadModel(server_, kChatModel, InTree("tests/goldens/e2e_chat/model"))
            .ok());
  }

  const TempFolder folder_;
  ServerProcess server_{
      {.data_dir = folder_.path(), .config = kTwoWithoutReturn}};
};

TEST_F(TwoWorkersTest, WhatIsLoadedIsInEachOfThem) {
  ASSERT_TRUE(LoadTinyWorld(server_).ok());
  const v1::ScoreRequest request = ChatScoreRequest(kChatModel);
  const auto of_first = Score(server_, request);
  ASSERT_TRUE(of_first.ok()) << of_first.status();
  KillWorker(server_, 0);
  ASSERT_TRUE(AwaitState(server_, 0, v1::WORKER_STATE_BACKING_OFF));
  const auto of_second = Score(server_, request);
  ASSERT_TRUE(of_second.ok()) << of_second.status();
  EXPECT_EQ(of_second->scores(0).SerializeAsString(),
            of_first->scores(0).SerializeAsString());
  const auto job = CreateJob(server_, TinyWorldJob(2), "");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(AwaitJob(server_, job->name())->state(), v1::JOB_STATE_SUCCEEDED);
  KillWorker(server_, 1);
  ASSERT_TRUE(AwaitState(server_, 1, v1::WORKER_STATE_BACKING_OFF));
  EXPECT_TRUE(absl::IsUnavailable(Score(server_, request).status()));
}

TEST_F(TwoWorkersTest, CallsAreSharedOut) {
  const int port = HttpPortOf(server_);
  const auto both_worked = [port] {
    const std::string metrics = HttpGet(port, "/metrics");
    return metrics.find(
               "dissonance_prefill_tokens_total{worker=\"local\"} 0") ==
               std::string::npos &&
           metrics.find(
               "dissonance_prefill_tokens_total{worker=\"local-1\"} 0") ==
               std::string::npos &&
           metrics.find("prefill_tokens_total{worker=\"local-1\"}") !=
               std::string::npos;
  };
  EXPECT_FALSE(both_worked());
  std::atomic<bool> done = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      const v1::ScoreRequest request = ChatScoreRequest(kChatModel);
      while (!done) EXPECT_TRUE(Score(server_, request).ok());
    });
  }
  const absl::Time deadline = absl::Now() + ServerProcess::kPatience;
  bool shared = false;
  while (!shared && absl::Now() < deadline) shared = both_worked();
  done = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(shared);
}

TEST(ScalingTest, MoreRunWhileJobsWaitAndFewerWhenIdle) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .config = "[worker]\ncount = 2\nleast = 1\nidle_seconds = 0.5\n"
                 "[jobs]\nconcurrent = 1\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  EXPECT_EQ(StateOf(server, 1), v1::WORKER_STATE_STOPPED);
  std::vector<std::string> jobs;
  v1::JobSpec training = EndlessTraining();
  training.mutable_fine_tune()->set_output_adapter(kTrained);
  for (int i = 0; i < 2; ++i) {
    const auto job = CreateJob(server, i == 0 ? training : TinyWorldJob(1), "");
    ASSERT_TRUE(job.ok()) << job.status();
    jobs.push_back(job->name());
  }
  EXPECT_TRUE(AwaitState(server, 1, v1::WORKER_STATE_READY));
  v1::CancelJobRequest cancel;
  cancel.set_name(jobs.front());
  v1::CancelJobResponse cancelled;
  ASSERT_TRUE(server.NewStub<v1::Jobs>()
                  ->CancelJob(server.NewContext().get(), cancel, &cancelled)
                  .ok());
  EXPECT_EQ(AwaitJob(server, jobs.back())->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(AwaitState(server, 1, v1::WORKER_STATE_STOPPED));
  EXPECT_EQ(StateOf(server, 0), v1::WORKER_STATE_READY);
  EXPECT_EQ(server.Info().workers(1).restart_count(), 0);
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace dissonance
