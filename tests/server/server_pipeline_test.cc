// Pipelines of the tiny world on real servers: the same report whether the
// server is killed in between or not, nothing computed twice, other users' work
// untouched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/server/finetune_fixture.h"
#include "tests/server/pipeline_fixture.h"
#include "tests/server/users_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

TEST(PipelineTest, KilledThreeTimesItGivesTheSameReport) {
  ASSERT_TRUE(UndisturbedPipeline().contains("report.html"));
  const TempFolder folder;
  FineTuneWorld::Get().CopyTo(folder);
  const char* const places[] = {
      "stage train: ", "stage mcq: ", "stage steer: "};
  for (const char* place : places) {
    ServerProcess server(
        {.data_dir = folder.path(), .config = kPipelineConfig});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallPipeline(), "the-pipeline");
    ASSERT_TRUE(job.ok()) << job.status();
    ASSERT_TRUE(JobEvents(server, job->name()).Await(place)) << place;
    server.Signal(SIGKILL);
    ASSERT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path(), .config = kPipelineConfig});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, SmallPipeline(), "the-pipeline");
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  EXPECT_GE(ended->attempt_count(), 4) << "else nothing was interrupted";
  const auto files = ResultFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, UndisturbedPipeline());
}

// Jobs of the owner's that are no pipelines.
int StageJobs(ServerProcess& server) {
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  const auto jobs =
      Client::Owner(server).Call(&v1::Jobs::Stub::ListJobs, request);
  EXPECT_TRUE(jobs.ok()) << jobs.status();
  int count = 0;
  for (const v1::Job& job : jobs->jobs()) count += !job.spec().has_pipeline();
  return count;
}

class PipelineServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    // One at a time: a pipeline takes no place of what it waits for.
    server_ = std::make_unique<ServerProcess>(ServerProcess::Options{
        .data_dir = FineTuneWorld::Get().CopyTo(*folder_),
        .config =
            absl::StrCat(kPipelineConfig, "[jobs]\nconcurrent = 1\n[quota]\n",
                         "running_jobs = 1\n")});
    ASSERT_TRUE(server_->AwaitServing());
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    server_ = nullptr;
    folder_ = nullptr;
  }

  static v1::Job Run(const v1::JobSpec& spec) {
    const auto job = CreateJob(*server_, spec, "");
    EXPECT_TRUE(job.ok()) << job.status();
    const auto ended = AwaitJob(*server_, job->name());
    EXPECT_TRUE(ended.ok()) << ended.status();
    return ended.ok() ? *ended : v1::Job();
  }

  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_F(PipelineServerTest, ComputesAgainOnlyWhatDependsOnAChange) {
  const v1::Job first = Run(SmallPipeline());
  EXPECT_EQ(first.state(), v1::JOB_STATE_SUCCEEDED) << first.reason();
  const int count = StageJobs(*server_);
  const v1::Job again = Run(SmallPipeline());
  EXPECT_EQ(StageJobs(*server_), count);
  EXPECT_EQ(ArtifactOf(again, "report.html"), ArtifactOf(first, "report.html"));
  v1::JobSpec other = SmallPipeline();
  other.mutable_pipeline()
      ->mutable_stages(5)
      ->mutable_spec()
      ->mutable_train_probes()
      ->mutable_options()
      ->set_seed(7);
  const v1::Job third = Run(other);
  EXPECT_EQ(third.state(), v1::JOB_STATE_SUCCEEDED) << third.reason();
  EXPECT_EQ(StageJobs(*server_), count + 1);
}

TEST_F(PipelineServerTest, AForgottenAdapterComesBackFromItsTraining) {
  const v1::Job first = Run(SmallPipeline());
  ASSERT_EQ(first.state(), v1::JOB_STATE_SUCCEEDED) << first.reason();
  const auto names = AdapterNames(*server_);
  for (const std::string& name : names) {
    if (!absl::StrContains(name, "trained-")) continue;
    ASSERT_TRUE(Client::Owner(*server_)
                    .CallOf(&v1::Models::Stub::DeleteAdapter, name)
                    .ok());
  }
  ASSERT_NE(AdapterNames(*server_), names);
  v1::JobSpec other = SmallPipeline();
  // Other questions need the adapter.
  other.mutable_pipeline()
      ->mutable_stages(1)
      ->mutable_spec()
      ->mutable_evaluate_mcq()
      ->set_data(GravityAndOthers(9));
  const v1::Job again = Run(other);
  EXPECT_EQ(again.state(), v1::JOB_STATE_SUCCEEDED) << again.reason();
  EXPECT_EQ(AdapterNames(*server_), names);
}

TEST_F(PipelineServerTest, TwoUsersRunTheSamePipeline) {
  ASSERT_EQ(Run(SmallPipeline()).state(), v1::JOB_STATE_SUCCEEDED);
  v1::UpdateModelRequest share;
  share.set_name(kTinyModel);
  share.set_visibility(v1::VISIBILITY_LAB);
  ASSERT_TRUE(
      Client::Owner(*server_).Call(&v1::Models::Stub::UpdateModel, share).ok());
  const auto ada = Client::AddUser(*server_, "ada");
  ASSERT_TRUE(ada.ok()) << ada.status();
  v1::CreateJobRequest request;
  *request.mutable_spec() = SmallPipeline();
  const auto job = ada->Call(&v1::Jobs::Stub::CreateJob, request);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(*server_, job->job().name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  share.set_visibility(v1::VISIBILITY_PRIVATE);
  ASSERT_TRUE(
      Client::Owner(*server_).Call(&v1::Models::Stub::UpdateModel, share).ok());
}

TEST_F(PipelineServerTest, APausedOneIsCancelledWithItsStages) {
  v1::JobSpec spec;
  *AddStage(spec, "train").mutable_spec() = EndlessTraining();
  spec.mutable_pipeline()
      ->mutable_stages(0)
      ->mutable_spec()
      ->mutable_fine_tune()
      ->mutable_training()
      ->set_seed(5);
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  const Client owner = Client::Owner(*server_);
  {
    JobEvents events(*server_, job->name());
    ASSERT_TRUE(events.Await("stages.json"));
    ASSERT_TRUE(owner.CallOf(&v1::Jobs::Stub::PauseJob, job->name()).ok());
    ASSERT_TRUE(events.Await("JOB_STATE_PAUSED"));
  }
  const auto paused = GetJob(*server_, job->name());
  ASSERT_TRUE(paused.ok()) << paused.status();
  ASSERT_TRUE(owner.CallOf(&v1::Jobs::Stub::CancelJob, job->name()).ok());
  const auto stages = nlohmann::json::parse(
      *ReadArtifact(*server_, ArtifactOf(*paused, "stages.json")));
  const auto stage =
      AwaitJob(*server_, stages["stages"][0]["job"].get<std::string>());
  ASSERT_TRUE(stage.ok()) << stage.status();
  EXPECT_EQ(stage->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(PipelineServerTest, AnAbortedGateFailsItWithTheReport) {
  v1::JobSpec spec = SmallPipeline();
  auto& stages = *spec.mutable_pipeline()->mutable_stages();
  stages.DeleteSubrange(2, stages.size() - 2);
  // A dozen steps change no belief.
  stages[1].add_gates(v1::GATE_BEHAVIOUR);
  const v1::Job job = Run(spec);
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.reason(), HasSubstr("gate behaviour of mcq: abort"));
  EXPECT_FALSE(ArtifactOf(job, "report.html").empty());
  spec.mutable_pipeline()->set_force(true);
  const v1::Job forced = Run(spec);
  EXPECT_EQ(forced.state(), v1::JOB_STATE_SUCCEEDED) << forced.reason();
  EXPECT_NE(ArtifactOf(forced, "gates.json"), ArtifactOf(job, "gates.json"));
}

TEST_F(PipelineServerTest, ReplayedItGivesTheSame) {
  const v1::Job first = Run(SmallPipeline());
  v1::ReplayJobRequest request;
  request.set_name(first.name());
  const auto replay =
      Client::Owner(*server_).Call(&v1::Jobs::Stub::ReplayJob, request);
  ASSERT_TRUE(replay.ok()) << replay.status();
  const int count = StageJobs(*server_);
  ASSERT_TRUE(AwaitJob(*server_, replay->job().name()).ok());
  EXPECT_EQ(StageJobs(*server_), count + 8) << "all are computed";
  v1::CompareJobsRequest compare;
  compare.set_first_job(first.name());
  compare.set_second_job(replay->job().name());
  const auto same =
      Client::Owner(*server_).Call(&v1::Jobs::Stub::CompareJobs, compare);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_TRUE(same->same_outputs()) << same->DebugString();
}

TEST_F(PipelineServerTest, CancelledItCancelsItsStages) {
  v1::JobSpec spec;
  *AddStage(spec, "train").mutable_spec() = EndlessTraining();
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_TRUE(JobEvents(*server_, job->name()).Await("stage train: "));
  v1::CancelJobRequest request;
  request.set_name(job->name());
  ASSERT_TRUE(
      Client::Owner(*server_).Call(&v1::Jobs::Stub::CancelJob, request).ok());
  const auto ended = AwaitJob(*server_, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_CANCELLED);
  const auto stages = nlohmann::json::parse(
      *ReadArtifact(*server_, ArtifactOf(*ended, "stages.json")));
  const auto stage =
      AwaitJob(*server_, stages["stages"][0]["job"].get<std::string>());
  ASSERT_TRUE(stage.ok()) << stage.status();
  EXPECT_EQ(stage->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(PipelineServerTest, NamesNothingOfOthers) {
  const auto user = Client::AddUser(*server_, "bob");
  ASSERT_TRUE(user.ok()) << user.status();
  v1::CreateJobRequest request;
  *request.mutable_spec() = SmallPipeline();
  const auto job = user->Call(&v1::Jobs::Stub::CreateJob, request);
  EXPECT_EQ(job.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dissonance
