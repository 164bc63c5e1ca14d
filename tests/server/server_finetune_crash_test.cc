// Trainings whose worker or server is killed, at every kind of place, end with
// the bytes of one that nothing disturbed.
#include <gtest/gtest.h>

#include <cctype>
#include <csignal>
#include <memory>
#include <string>

#include "dissonance/v1/jobs.grpc.pb.h"
#include "tests/server/finetune_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

// That workers are lost over and over is meant here.
constexpr char kConfig[] = "[worker]\nmax_backoff_seconds = 0.2\n";
constexpr char kRequest[] = "the-training";
constexpr char kSecondCheckpoint[] = "checkpoint-00006/state.safetensors";

std::string TestName(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

// Each kills the worker of one server, which then gets another.
class KilledWorkerTest : public ::testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    server_ = std::make_unique<ServerProcess>(ServerProcess::Options{
        .data_dir = FineTuneWorld::Get().CopyTo(*folder_), .config = kConfig});
    ASSERT_TRUE(server_->AwaitServing());
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    server_ = nullptr;
    folder_ = nullptr;
  }

  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_P(KilledWorkerTest, CostsTheTrainingNothing) {
  ASSERT_TRUE(server_->AwaitServing());
  const pid_t worker = server_->WorkerPid();
  v1::JobSpec spec = SmallTraining();
  spec.mutable_fine_tune()->set_replace(true);
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  {
    JobEvents events(*server_, job->name());
    ASSERT_TRUE(events.Await(GetParam()));
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
  }
  ExpectUndisturbed(*server_, job->name());
  const auto ended = GetJob(*server_, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  // Else it came too late to show anything.
  EXPECT_GT(ended->attempt_count(), 1);
}

// Before the first step, in the first evaluation, after steps, and around
// checkpoints.
INSTANTIATE_TEST_SUITE_P(Here, KilledWorkerTest,
                         ::testing::Values("JOB_STATE_RUNNING",
                                           "numbers trained",
                                           "step 0: ", "step 2",
                                           "checkpoint-00003/state.safetensors",
                                           "step 6: ", kSecondCheckpoint,
                                           "step 8"),
                         TestName);

TEST(FineTuneCrashTest, AWorkerThatIsKilledAgainAndAgainCostsNothingEither) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = FineTuneWorld::Get().CopyTo(folder), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, SmallTraining(), "");
  ASSERT_TRUE(job.ok()) << job.status();
  {
    JobEvents events(server, job->name());
    for (const char* place :
         {"step 1", "resumes after step ", kSecondCheckpoint}) {
      ASSERT_TRUE(events.Await(place)) << place;
      ASSERT_EQ(::kill(server.WorkerPid(), SIGKILL), 0);
    }
  }
  ExpectUndisturbed(server, job->name());
}

TEST(FineTuneCrashTest, AKilledServerGoesOnWhenItIsStartedAgain) {
  const TempFolder folder;
  FineTuneWorld::Get().CopyTo(folder);
  std::string name;
  {
    ServerProcess server({.data_dir = folder.path()});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallTraining(), kRequest);
    ASSERT_TRUE(job.ok()) << job.status();
    name = job->name();
    JobEvents events(server, name);
    ASSERT_TRUE(events.Await("step 5"));
    server.Signal(SIGKILL);
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  ExpectUndisturbed(server, name);
}

class FailpointTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FailpointTest, ATrainingInterruptedHereEndsWithTheSameBytes) {
  const TempFolder folder;
  FineTuneWorld::Get().CopyTo(folder);
  {
    ServerProcess server(
        {.data_dir = folder.path(),
         .environment = {{"DISSONANCE_FAILPOINT", GetParam()}}});
    ASSERT_TRUE(server.AwaitServing());
    ASSERT_TRUE(CreateJob(server, SmallTraining(), kRequest).ok());
    ASSERT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, SmallTraining(), kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  ExpectUndisturbed(server, job->name());
}

// The first output is the configuration, then come the weights and the state
// of the first checkpoint.
INSTANTIATE_TEST_SUITE_P(
    Here, FailpointTest,
    ::testing::Values("jobs.before_record:2", "jobs.items_recorded:2",
                      "jobs.output_stored:2", "jobs.output_written:3",
                      "jobs.output_stored:3", "jobs.output_removed:1",
                      "jobs.before_success:1"),
    TestName);

}  // namespace
}  // namespace dissonance
