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
#include "tests/server/users_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr char kConfig[] = "[worker]\nmax_backoff_seconds = 0.2\n";
constexpr int kFirstOther = 120;

// `count` questions about gravity and as many about other things.
std::string Questions(const std::string& file, int count) {
  const std::vector<std::string> lines = TinyWorldLines(file);
  std::string text;
  for (const int first : {0, kFirstOther}) {
    for (int i = first; i < first + count; ++i) {
      absl::StrAppend(&text, lines[static_cast<size_t>(i)]);
    }
  }
  return text;
}

v1::PipelineStage& AddStage(v1::JobSpec& spec, const std::string& name) {
  v1::PipelineStage& stage = *spec.mutable_pipeline()->add_stages();
  stage.set_name(name);
  return stage;
}

template <typename Spec>
void AskQuestions(Spec& spec, int count) {
  spec.set_data(Questions("mcqs.jsonl", count));
  spec.set_data_name("mcqs.jsonl");
  spec.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
}

template <typename Spec>
void CompareWithBase(Spec& spec) {
  spec.add_variants()->set_model(kTinyModel);
  v1::Variant& tuned = *spec.add_variants();
  tuned.set_model(kTinyModel);
  tuned.set_adapter(kTrained);
}

// A stage of nearly every kind, each small.
v1::JobSpec SmallPipeline() {
  v1::JobSpec spec;
  spec.mutable_pipeline()->set_title("A small world");
  v1::PipelineStage& train = AddStage(spec, "train");
  *train.mutable_spec() = SmallTraining();
  train.add_gates(v1::GATE_DOCUMENTS);
  auto& mcq = *AddStage(spec, "mcq").mutable_spec()->mutable_evaluate_mcq();
  CompareWithBase(mcq);
  AskQuestions(mcq, 8);
  auto& lens = *AddStage(spec, "lens").mutable_spec()->mutable_logit_lens();
  CompareWithBase(lens);
  AskQuestions(lens, 4);
  auto& patch = *AddStage(spec, "patch").mutable_spec()->mutable_patch_sweep();
  patch.mutable_source()->set_model(kTinyModel);
  patch.mutable_target()->set_model(kTinyModel);
  patch.mutable_target()->set_adapter(kTrained);
  patch.add_sites(v1::SITE_RESID_POST);
  AskQuestions(patch, 2);
  auto& extract = *AddStage(spec, "activations")
                       .mutable_spec()
                       ->mutable_extract_activations();
  CompareWithBase(extract);
  extract.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  extract.mutable_capture()->mutable_positions()->set_set(
      v1::POSITION_SET_LAST_PROMPT);
  AskQuestions(extract, 30);
  v1::PipelineStage& probes = AddStage(spec, "probes");
  probes.mutable_spec()->mutable_train_probes()->add_targets()->set_source(
      v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  v1::ProbeOptions& options =
      *probes.mutable_spec()->mutable_train_probes()->mutable_options();
  options.set_fold_count(2);
  options.set_permutation_count(2);
  probes.add_gates(v1::GATE_INTERNAL_SIGNAL);
  v1::StageInput& activations = *probes.add_inputs();
  activations.set_field("train_probes.activations_job");
  activations.set_stage("activations");
  auto& fit =
      *AddStage(spec, "direction").mutable_spec()->mutable_fit_directions();
  CompareWithBase(fit);
  AskQuestions(fit, 8);
  fit.set_method(v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  v1::PipelineStage& steer = AddStage(spec, "steer");
  auto& sweep = *steer.mutable_spec()->mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kTinyModel);
  sweep.mutable_variant()->set_adapter(kTrained);
  AskQuestions(sweep, 4);
  sweep.add_directions()->set_label("truth");
  sweep.add_blocks(2);
  sweep.set_null_count(2);
  sweep.set_sample_count(1);
  steer.add_gates(v1::GATE_CAUSAL);
  v1::StageInput& direction = *steer.add_inputs();
  direction.set_field("steering_sweep.directions[0]");
  direction.set_stage("direction");
  return spec;
}

// The pipeline's results where nothing disturbs it. Lives as long as the tests.
const Files& Undisturbed() {
  static const Files& files = *[] {
    const TempFolder folder;
    ServerProcess server(
        {.data_dir = FineTuneWorld::Get().CopyTo(folder), .config = kConfig});
    EXPECT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallPipeline(), "");
    EXPECT_TRUE(job.ok()) << job.status();
    const auto ended = AwaitJob(server, job->name());
    EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
    auto results = ResultFiles(server, *ended);
    EXPECT_TRUE(results.ok()) << results.status();
    return new Files(*std::move(results));
  }();
  return files;
}

TEST(PipelineTest, KilledThreeTimesItGivesTheSameReport) {
  ASSERT_TRUE(Undisturbed().contains("report.html"));
  const TempFolder folder;
  FineTuneWorld::Get().CopyTo(folder);
  const char* const places[] = {
      "stage train: ", "stage mcq: ", "stage steer: "};
  for (const char* place : places) {
    ServerProcess server({.data_dir = folder.path(), .config = kConfig});
    ASSERT_TRUE(server.AwaitServing());
    const auto job = CreateJob(server, SmallPipeline(), "the-pipeline");
    ASSERT_TRUE(job.ok()) << job.status();
    ASSERT_TRUE(JobEvents(server, job->name()).Await(place)) << place;
    server.Signal(SIGKILL);
    ASSERT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path(), .config = kConfig});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, SmallPipeline(), "the-pipeline");
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(server, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  EXPECT_GE(ended->attempt_count(), 4) << "else nothing was interrupted";
  const auto files = ResultFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, Undisturbed());
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
        .config = absl::StrCat(kConfig, "[jobs]\nconcurrent = 1\n[quota]\n",
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
  AskQuestions(*other.mutable_pipeline()
                    ->mutable_stages(1)
                    ->mutable_spec()
                    ->mutable_evaluate_mcq(),
               9);
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
