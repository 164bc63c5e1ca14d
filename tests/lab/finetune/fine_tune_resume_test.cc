// Trainings that are interrupted, and go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/lab/finetune/fine_tune_bench.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

TEST(FineTuneResumeTest, ResumedAfterALossAtAnyMessageGivesTheSame) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  const int64_t messages = whole.training.received_count;
  ASSERT_GT(messages, 30);
  for (int64_t at = 0; at < messages; ++at) {
    SCOPED_TRACE(absl::StrCat("lost before message ", at));
    Bench bench;
    bench.training.messages_left = at;
    const absl::Status lost = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(absl::IsUnavailable(lost)) << lost;
    const std::vector<std::string> before = bench.job.items;
    bench.training.messages_left = messages;
    const absl::Status status = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
    EXPECT_EQ(bench.OutputNames(), whole.OutputNames());
    EXPECT_THAT(bench.job.log, Not(Contains(HasSubstr("WARNING"))));
    // From the newest checkpoint before the loss.
    const auto recorded = static_cast<int64_t>(before.size());
    EXPECT_LE(recorded - bench.training.start_steps.back(), 3);
  }
}

TEST(FineTuneResumeTest, StepsRecordedTogetherAreResumedTheSame) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  for (const int64_t at : {5, 13, 22}) {
    Bench bench;
    bench.record_interval = absl::Hours(1);
    bench.training.messages_left = at;
    ASSERT_TRUE(absl::IsUnavailable(bench.Run(SpecWithQuestions())));
    bench.training.messages_left = 1000;
    ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_LT(bench.job.done_counts.size(), whole.job.done_counts.size());
  }
}

TEST(FineTuneResumeTest, ARecordedEvaluationIsNotRepeated) {
  Bench bench;
  // After the evaluation of step 3, before the checkpoint of step 4.
  ASSERT_TRUE(
      absl::IsUnavailable(bench.RunUntilLostAfter(4, SpecWithQuestions())));
  ASSERT_THAT(bench.job.items, SizeIs(3));
  const size_t asked = bench.compute.requests.size();
  ASSERT_TRUE(bench.Run(SpecWithQuestions()).ok());
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 2));
  // Of step 6 and 7 alone, two calls each.
  EXPECT_EQ(bench.compute.requests.size(), asked + 4);
}

TEST(FineTuneResumeTest, StopsWithACheckpointAndGoesOnFromIt) {
  Bench whole;
  ASSERT_TRUE(whole.Run(SpecWithQuestions()).ok());
  for (int64_t step = 1; step <= 7; ++step) {
    SCOPED_TRACE(absl::StrCat("stopped after step ", step));
    Bench bench;
    bench.training.on_message =
        [&](const internal::v1::TrainResponse& message) {
          if (message.step().step() == step) bench.job.is_cancelled = true;
        };
    const absl::Status stopped = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(absl::IsCancelled(stopped)) << stopped;
    EXPECT_EQ(bench.training.stop_count, 1);
    EXPECT_THAT(bench.job.items, SizeIs(step));
    EXPECT_THAT(
        bench.OutputNames(),
        Contains(absl::StrCat("checkpoint-0000", step, "/state.safetensors")));
    bench.training.on_message = nullptr;
    bench.job.is_cancelled = false;
    const absl::Status status = bench.Run(SpecWithQuestions());
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(bench.training.start_steps.back(), step);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
  }
}

TEST(FineTuneResumeTest, EveryAttemptsChatTemplatesTellTheTimeOfTheJob) {
  Bench bench;
  bench.job.stored().mutable_create_time()->set_seconds(951825599);
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(4, Spec())));
  ASSERT_TRUE(bench.Run(Spec()).ok());
  ASSERT_THAT(bench.training.begins, SizeIs(2));
  for (const internal::v1::TrainBegin& begin : bench.training.begins) {
    EXPECT_EQ(begin.template_time().seconds(), 951825599);
  }
}

TEST(FineTuneResumeTest, WhenItIsGivenUpItWaitsForNoCheckpoint) {
  Bench bench;
  bench.job.gives_up = true;
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.step().step() == 3) bench.job.is_cancelled = true;
  };
  EXPECT_TRUE(absl::IsCancelled(bench.Run(Spec())));
  EXPECT_EQ(bench.training.stop_count, 0);
  EXPECT_THAT(bench.OutputNames(),
              Not(Contains("checkpoint-00003/state.safetensors")));
}

TEST(FineTuneResumeTest, ACheckpointThatTheWorkerRefusesIsPassedOver) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(6, Spec())));
  bench.training.refusals[4] = absl::DataLossError("moments are damaged");
  const absl::Status status = bench.Run(Spec());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 2));
  EXPECT_THAT(bench.job.log, Contains(HasSubstr("moments are damaged")));
}

TEST(FineTuneResumeTest, ACheckpointWhoseBytesAreDamagedIsPassedOver) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(6, Spec())));
  bench.job.outputs["checkpoint-00004/state.safetensors"] = "damaged";
  bench.job.outputs["checkpoint-00002/state.safetensors"] = "damaged";
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_THAT(bench.training.start_steps, ElementsAre(0, 0));
}

TEST(FineTuneResumeTest, CheckpointsStayWhenTheWorkerRefusesEverything) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(5, Spec())));
  const auto before = bench.OutputNames();
  bench.training.digest = "sha256:other";
  bench.training.refusals[2] = bench.training.refusals[4] =
      absl::FailedPreconditionError("of another training");
  const absl::Status status = bench.Run(Spec());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("changed after 4 steps"));
  EXPECT_EQ(bench.OutputNames(), before);
}

TEST(FineTuneResumeTest, HalfACheckpointIsNotGoneOnFrom) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(5, Spec())));
  bench.job.outputs.erase("checkpoint-00004/state.safetensors");
  bench.training.messages_left = 0;
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  EXPECT_THAT(bench.OutputNames(),
              Not(Contains("checkpoint-00004/adapter_model.safetensors")));
  bench.training.messages_left = 1000;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_EQ(bench.training.start_steps.back(), 2);
}

TEST(FineTuneResumeTest,
     ACheckpointAfterStepsThatAreNotRecordedIsNotGoneOnFrom) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(5, Spec())));
  bench.job.items.resize(3);
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_EQ(bench.training.start_steps.back(), 2);
  EXPECT_THAT(bench.job.items, SizeIs(7));
}

TEST(FineTuneResumeTest, StepsAreRecordedBeforeTheCheckpointAfterThem) {
  Bench bench;
  bench.record_interval = absl::Hours(1);
  bench.training.on_message = [&](const internal::v1::TrainResponse& message) {
    if (message.snapshot().step() == 4) bench.training.messages_left = 4;
  };
  ASSERT_TRUE(absl::IsUnavailable(bench.Run(Spec())));
  EXPECT_THAT(bench.job.items, SizeIs(4));
  bench.training.on_message = nullptr;
  bench.training.messages_left = 1000;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_EQ(bench.training.start_steps.back(), 4);
}

TEST(FineTuneResumeTest, AFullDiskAtACheckpointLeavesTheOneBefore) {
  Bench whole;
  ASSERT_TRUE(whole.Run(Spec()).ok());
  for (int writes = 1; writes < 40; ++writes) {
    SCOPED_TRACE(absl::StrCat("full after ", writes, " writes"));
    Bench bench;
    bench.job.writes_left = writes;
    const absl::Status full = bench.Run(Spec());
    if (full.ok()) break;
    ASSERT_TRUE(absl::IsResourceExhausted(full)) << full;
    for (const std::string& name : bench.OutputNames()) {
      if (!absl::StartsWith(name, "checkpoint")) continue;
      const std::string folder = name.substr(0, name.find('/'));
      EXPECT_TRUE(bench.job.outputs.contains(
          absl::StrCat(folder, "/state.safetensors")));
    }
    bench.job.writes_left.reset();
    ASSERT_TRUE(bench.Run(Spec()).ok());
    EXPECT_EQ(bench.job.items, whole.job.items);
    EXPECT_EQ(Results(bench.job), Results(whole.job));
  }
}

TEST(FineTuneResumeTest, SaysLoudlyWhenAResumedTrainingGivesOtherNumbers) {
  Bench bench;
  ASSERT_TRUE(absl::IsUnavailable(bench.RunUntilLostAfter(4, Spec())));
  bench.training.loss_shift = 1e-15;
  ASSERT_TRUE(bench.Run(Spec()).ok());
  EXPECT_THAT(bench.job.log, Contains(HasSubstr("WARNING: step 3")));
}

}  // namespace
}  // namespace dissonance
