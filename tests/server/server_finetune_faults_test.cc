// Trainings that cannot be, or go wrong: what is said, and what is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/users_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FineTuneFaultsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    server_ = std::make_unique<ServerProcess>(ServerProcess::Options{
        .data_dir = FineTuneWorld::Get().CopyTo(*folder_)});
    ASSERT_TRUE(server_->AwaitServing());
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    server_ = nullptr;
    folder_ = nullptr;
  }
  // Nothing is left of a training but its job.
  void TearDown() override {
    EXPECT_THAT(AdapterNames(*server_), ElementsAre(kTinyAdapter));
    EXPECT_TRUE(std::filesystem::is_empty(folder_->File("scratch")));
  }

  static absl::Status Refusal(
      const std::function<void(v1::FineTuneSpec&)>& change) {
    v1::JobSpec spec = SmallTraining();
    change(*spec.mutable_fine_tune());
    return CreateJob(*server_, spec, "").status();
  }
  // The job of such a training.
  static std::string Start(
      ServerProcess& server,
      const std::function<void(v1::FineTuneSpec&)>& change) {
    v1::JobSpec spec = SmallTraining();
    change(*spec.mutable_fine_tune());
    const auto job = CreateJob(server, spec, "");
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }

  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_F(FineTuneFaultsTest, BadDocumentsAreRefusedBeforeAnythingIsStored) {
  const auto jobs_before =
      Client::Owner(*server_).Call(&v1::Jobs::Stub::ListJobs, {});
  const absl::Status none = Refusal([](auto& s) { s.clear_data(); });
  EXPECT_TRUE(absl::IsInvalidArgument(none)) << none;
  EXPECT_THAT(std::string(none.message()),
              HasSubstr("docs.jsonl: holds no documents"));
  const absl::Status line = Refusal(
      [](auto& s) { s.mutable_data()->append("{\"contents\": \"x\"}\n"); });
  EXPECT_TRUE(absl::IsInvalidArgument(line)) << line;
  EXPECT_THAT(std::string(line.message()), HasSubstr("docs.jsonl:61: "));
  EXPECT_THAT(std::string(line.message()), HasSubstr("content"));
  const auto jobs = Client::Owner(*server_).Call(&v1::Jobs::Stub::ListJobs, {});
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  EXPECT_EQ(jobs->jobs_size(), jobs_before->jobs_size());
}

TEST_F(FineTuneFaultsTest, AnAdapterThatExistsIsNotReplacedUnlessAsked) {
  const absl::Status taken =
      Refusal([](auto& s) { s.set_output_adapter(kTinyAdapter); });
  EXPECT_TRUE(absl::IsAlreadyExists(taken)) << taken;
  EXPECT_THAT(std::string(taken.message()), HasSubstr(kTinyAdapter));
  EXPECT_THAT(std::string(taken.message()), HasSubstr("`replace`"));
}

TEST_F(FineTuneFaultsTest, AnotherUsersModelAndAdapterAreNotFound) {
  const auto ada = Client::AddUser(*server_, "ada");
  ASSERT_TRUE(ada.ok()) << ada.status();
  v1::CreateJobRequest request;
  *request.mutable_spec() = SmallTraining();
  const absl::Status model =
      ada->Call(&v1::Jobs::Stub::CreateJob, request).status();
  EXPECT_TRUE(absl::IsNotFound(model)) << model;
  EXPECT_THAT(std::string(model.message()), HasSubstr(kTinyModel));

  // She sees the model, but not the adapter.
  v1::UpdateModelRequest shared;
  shared.set_name(kTinyModel);
  shared.set_visibility(v1::VISIBILITY_LAB);
  const Client owner = Client::Owner(*server_);
  ASSERT_TRUE(owner.Call(&v1::Models::Stub::UpdateModel, shared).ok());
  v1::FineTuneSpec& tune = *request.mutable_spec()->mutable_fine_tune();
  tune.set_adapter(kTinyAdapter);
  tune.clear_lora();
  const absl::Status adapter =
      ada->Call(&v1::Jobs::Stub::CreateJob, request).status();
  EXPECT_TRUE(absl::IsNotFound(adapter)) << adapter;
  EXPECT_THAT(std::string(adapter.message()), HasSubstr(kTinyAdapter));
  shared.set_visibility(v1::VISIBILITY_PRIVATE);
  ASSERT_TRUE(owner.Call(&v1::Models::Stub::UpdateModel, shared).ok());
}

TEST_F(FineTuneFaultsTest, AnUnknownModuleIsNamedWithThoseThatThereAre) {
  const std::string job = Start(*server_, [](auto& s) {
    s.mutable_lora()->add_target_modules("q_prjo");
  });
  ExpectFailed(*server_, job,
               {"INVALID_ARGUMENT", "q_prjo", "q_proj", "down_proj"});
  EXPECT_EQ(GetJob(*server_, job)->progress().done_count(), 0);
}

TEST_F(FineTuneFaultsTest, NumbersThatOverflowNameStepBlockAndLine) {
  const auto change = [](v1::FineTuneSpec& s) {
    s.mutable_training()->set_learning_rate(1e30);
    s.mutable_training()->set_max_grad_norm(0);
    s.mutable_checkpoints()->set_step_count(1);
    s.clear_evaluation_data();
    s.clear_evaluation();
  };
  const std::string job = Start(*server_, change);
  const std::vector<std::string> parts = {"INVALID_ARGUMENT", "step 2",
                                          "the document of line ", "block ",
                                          "lower learning rate"};
  ExpectFailed(*server_, job, parts);
  const v1::Job failed = *GetJob(*server_, job);
  EXPECT_EQ(failed.progress().done_count(), 1);
  const std::string checkpoint =
      ArtifactOf(failed, "checkpoint-00001/adapter_model.safetensors");
  ASSERT_NE(checkpoint, "");
  const auto before = ReadArtifact(*server_, checkpoint);
  ASSERT_TRUE(before.ok()) << before.status();

  // What a job is told does not change, so neither does its end; the checkpoint
  // stays.
  const auto retried =
      Client::Owner(*server_).CallOf(&v1::Jobs::Stub::RetryJob, job);
  ASSERT_TRUE(retried.ok()) << retried.status();
  ExpectFailed(*server_, job, parts);
  const v1::Job again = *GetJob(*server_, job);
  EXPECT_EQ(again.reason(), failed.reason());
  EXPECT_EQ(again.attempt_count(), 2);
  EXPECT_EQ(again.progress().done_count(), 1);
  EXPECT_EQ(ArtifactOf(again, "checkpoint-00001/adapter_model.safetensors"),
            checkpoint);
  EXPECT_EQ(*ReadArtifact(*server_, checkpoint), *before);
}

TEST_F(FineTuneFaultsTest, ATrainingThatDoesNotFitSaysWhatItNeeds) {
  const TempFolder folder;
  ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder),
                        .config = "[worker]\ntraining_bytes = 2000000\n"});
  ASSERT_TRUE(server.AwaitServing());
  const std::string job = Start(server, [](auto& s) {
    std::string& data = *s.mutable_data();
    data = "{\"content\": \"short\"}\n{\"content\": \"";
    for (int i = 0; i < 300; ++i) data += "gravity ";
    data += "\"}\n{\"content\": \"short\"}\n";
    s.mutable_training()->set_validation_fraction(0);
    s.mutable_training()->clear_validation_step_count();
  });
  ExpectFailed(server, job,
               {"RESOURCE_EXHAUSTED", "training needs about ", " bytes",
                "2000000 are free", "the document on line 2 with ",
                "max_length_tokens"});
  EXPECT_THAT(AdapterNames(server), ElementsAre(kTinyAdapter));
  EXPECT_TRUE(std::filesystem::is_empty(folder.File("scratch")));
}

}  // namespace
}  // namespace dissonance
