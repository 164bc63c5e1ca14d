// Trainings beside requests, beside each other, and what comes out of them as
// adapters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/interp_fixture.h"
#include "tests/server/users_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;

constexpr char kWeights[] = "adapter_model.safetensors";

class FineTuneServingTest : public InterpFixture {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    // No time for trainings while a request is under way.
    server_ =
        new ServerProcess({.data_dir = FineTuneWorld::Get().CopyTo(*folder_),
                           .config = "[worker]\ntraining_share = 0.0\n"});
    ASSERT_TRUE(server_->AwaitServing());
  }
  void TearDown() override {
    const Client owner = Client::Owner(*server_);
    for (const std::string& name : AdapterNames(*server_)) {
      if (name == kTinyAdapter) continue;
      EXPECT_TRUE(owner.CallOf(&v1::Models::Stub::DeleteAdapter, name).ok());
    }
  }

  static std::string Start(const v1::JobSpec& spec) {
    const auto job = CreateJob(*server_, spec, "");
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }
  static v1::Job Get(const std::string& job) {
    const auto now = GetJob(*server_, job);
    EXPECT_TRUE(now.ok()) << now.status();
    return now.ok() ? *now : v1::Job();
  }
  static v1::Job Succeed(const std::string& job) {
    const auto ended = AwaitJob(*server_, job);
    EXPECT_TRUE(ended.ok()) << ended.status();
    if (!ended.ok()) return {};
    EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
    return *ended;
  }
  static void Cancel(const std::string& job) {
    const auto cancelled =
        Client::Owner(*server_).CallOf(&v1::Jobs::Stub::CancelJob, job);
    EXPECT_TRUE(cancelled.ok()) << cancelled.status();
    const auto ended = AwaitJob(*server_, job);
    EXPECT_TRUE(ended.ok()) << ended.status();
    EXPECT_EQ(ended->state(), v1::JOB_STATE_CANCELLED) << ended->reason();
  }
  static v1::GenerateRequest Greedy(int count) {
    v1::GenerateRequest request = TinyRequest("The force of gravity", count);
    request.mutable_options()->set_ignore_eos(true);
    request.add_inputs()->set_text("Water boils");
    return request;
  }
  static v1::GenerateRequest Sampled(int count) {
    v1::GenerateRequest request = Greedy(count);
    request.mutable_options()->mutable_sampling()->set_temperature(1.0);
    request.mutable_options()->mutable_sampling()->set_seed(7);
    request.set_sample_count(3);
    return request;
  }
  static void ExpectSame(const Generated& one, const Generated& other) {
    ASSERT_TRUE(one.status.ok()) << one.status.error_message();
    ASSERT_TRUE(other.status.ok()) << other.status.error_message();
    ASSERT_EQ(one.samples.size(), other.samples.size());
    for (const auto& [key, sample] : one.samples) {
      EXPECT_EQ(sample.tokens, other.samples.at(key).tokens);
      EXPECT_EQ(sample.logprobs, other.samples.at(key).logprobs);
    }
  }
  // What an adapter makes of two continuations; "": the base.
  static std::string Scores(const std::string& adapter) {
    v1::ScoreRequest request;
    v1::Variant& variant = *request.add_variants();
    variant.set_model(kTinyModel);
    variant.set_adapter(adapter);
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->set_text("When the distance is doubled, gravity");
    item.add_continuations()->set_text(" becomes a quarter");
    item.add_continuations()->set_text(" becomes an eighth");
    const auto scored = Score(*server_, request);
    EXPECT_TRUE(scored.ok()) << scored.status();
    std::string text;
    if (!scored.ok()) return text;
    for (const v1::ItemScore& score : scored->scores()) {
      absl::StrAppend(&text, score.ShortDebugString(), "\n");
    }
    return text;
  }
};

TEST_F(FineTuneServingTest, RequestsBesideATrainingGetTheIdleServersNumbers) {
  const Generated greedy = Generate(Greedy(40));
  const Generated sampled = Generate(Sampled(40));
  const std::string scores = Scores("");
  const std::string job = Start(EndlessTraining());
  JobEvents events(*server_, job);
  ASSERT_TRUE(events.Await("step 1"));
  ExpectSame(Generate(Greedy(40)), greedy);
  ExpectSame(Generate(Sampled(40)), sampled);
  EXPECT_EQ(Scores(""), scores);
  EXPECT_EQ(Get(job).state(), v1::JOB_STATE_RUNNING);
  Cancel(job);
}

TEST_F(FineTuneServingTest, ARequestDoesNotWaitForTheTraining) {
  const std::string job = Start(EndlessTraining());
  JobEvents events(*server_, job);
  ASSERT_TRUE(events.Await("step 1"));
  const int64_t before = Get(job).progress().done_count();
  const Generated out = Generate(Sampled(400));
  const v1::Job after = Get(job);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.summary.generated_token_count(), 6 * 400);
  EXPECT_EQ(after.state(), v1::JOB_STATE_RUNNING);
  // The one under way when it came, and one each while it was on its way to and
  // from the worker.
  EXPECT_LE(after.progress().done_count() - before, 3);
  // And the training goes on.
  ASSERT_TRUE(
      events.Await(absl::StrCat("step ", after.progress().done_count() + 2)));
  Cancel(job);
}

TEST_F(FineTuneServingTest, ATrainingBesideAStreamOfRequestsGivesTheSameBytes) {
  const std::string job = Start(SmallTraining());
  JobEvents events(*server_, job);
  ASSERT_TRUE(events.Await("numbers trained"));
  std::atomic<bool> is_over = false;
  int answered = 0;
  std::thread client([&] {
    while (!is_over) {
      EXPECT_TRUE(Generate(Sampled(5)).status.ok());
      EXPECT_NE(Scores(kTinyAdapter), "");
      ++answered;
    }
  });
  ExpectUndisturbed(*server_, job);
  is_over = true;
  client.join();
  EXPECT_GT(answered, 3);
}

// Checkpoints that are adapters while the training goes on.
v1::JobSpec WithCheckpointAdapters(v1::JobSpec spec) {
  spec.mutable_fine_tune()->mutable_checkpoints()->set_register_adapters(true);
  return spec;
}

TEST_F(FineTuneServingTest, ACheckpointIsAnAdapterUntilTheTrainingHasEnded) {
  v1::JobSpec spec = WithCheckpointAdapters(EndlessTraining());
  spec.mutable_fine_tune()->mutable_checkpoints()->set_step_count(10);
  spec.mutable_fine_tune()->mutable_checkpoints()->set_keep_count(1000);
  const std::string checkpoint = absl::StrCat(kTrained, ".step-10");
  const std::string job = Start(spec);
  JobEvents events(*server_, job);
  ASSERT_TRUE(events.Await("checkpoint-00020/state.safetensors"));
  EXPECT_THAT(AdapterNames(*server_), Contains(checkpoint));
  const std::string scores = Scores(checkpoint);
  EXPECT_NE(scores, Scores(""));
  v1::JobSpec asked = TinyWorldJob(4);
  asked.mutable_evaluate_mcq()->mutable_variants(1)->set_adapter(checkpoint);
  asked.mutable_evaluate_mcq()->set_mc_dropout_sample_count(0);
  const std::string evaluation = Start(asked);
  EXPECT_EQ(Succeed(evaluation).provenance_size(), 2);
  EXPECT_EQ(Get(job).state(), v1::JOB_STATE_RUNNING);
  Cancel(job);
  EXPECT_THAT(AdapterNames(*server_), ElementsAre(kTinyAdapter));

  const v1::Job ended = Get(job);
  v1::RegisterAdapterRequest again;
  again.set_name("models/tiny/adapters/again");
  again.mutable_artifacts()->set_config(
      ArtifactOf(ended, "adapter_config.json"));
  again.mutable_artifacts()->set_weights(
      ArtifactOf(ended, absl::StrCat("checkpoint-00010/", kWeights)));
  const auto registered =
      Client::Owner(*server_).Call(&v1::Models::Stub::RegisterAdapter, again);
  ASSERT_TRUE(registered.ok()) << registered.status();
  EXPECT_EQ(Scores(again.name()), scores);
}

TEST_F(FineTuneServingTest, CheckpointAdaptersAreGoneAfterTheLastStep) {
  const std::string job = Start(WithCheckpointAdapters(SmallTraining()));
  ExpectUndisturbed(*server_, job);
  EXPECT_THAT(AdapterNames(*server_), ElementsAre(kTinyAdapter, kTrained));
}

TEST_F(FineTuneServingTest, TwoTrainingsAtOnceGiveTheBytesOfEachAlone) {
  v1::JobSpec other = SmallTraining();
  other.mutable_fine_tune()->set_output_adapter("models/tiny/adapters/other");
  other.mutable_fine_tune()->set_replace(true);
  other.mutable_fine_tune()->mutable_training()->set_seed(7);
  const auto alone = ResultFiles(*server_, Succeed(Start(other)));
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_NE(alone->at(kWeights), FineTuneWorld::Get().files().at(kWeights));

  const std::string first = Start(SmallTraining());
  const std::string second = Start(other);
  ExpectUndisturbed(*server_, first);
  const v1::Job ended = Succeed(second);
  const auto together = ResultFiles(*server_, ended);
  ASSERT_TRUE(together.ok()) << together.status();
  EXPECT_TRUE(*together == *alone);
  // They were under way at once.
  const auto nanos = [](const google::protobuf::Timestamp& time) {
    return time.seconds() * 1'000'000'000 + time.nanos();
  };
  EXPECT_LT(nanos(ended.start_time()), nanos(Get(first).end_time()));
}

double LossOfStep(const Files& files, int64_t step) {
  std::istringstream text(files.at("training.jsonl"));
  for (std::string line; std::getline(text, line);) {
    const json each = json::parse(line);
    if (each["step"] == step) return each["loss"];
  }
  return 0;
}

TEST_F(FineTuneServingTest, GoesOnFromAnAdapterAndKeepsItsShape) {
  v1::JobSpec spec = SmallTraining();
  spec.mutable_fine_tune()->set_adapter(kTinyAdapter);
  spec.mutable_fine_tune()->mutable_lora()->Clear();
  const v1::Job ended = Succeed(Start(spec));
  const auto files = ResultFiles(*server_, ended);
  ASSERT_TRUE(files.ok()) << files.status();
  const double first = LossOfStep(*files, 1);
  EXPECT_GT(first, 0);
  EXPECT_LT(first, LossOfStep(FineTuneWorld::Get().files(), 1));
  const json config = json::parse(files->at("adapter_config.json"));
  const json before = Parse("data/tiny_world/lora_cubic/adapter_config.json");
  for (const char* field :
       {"r", "lora_alpha", "target_modules", "layers_to_transform"}) {
    EXPECT_EQ(config[field], before[field]) << field;
  }
  // At once.
  const std::string scores = Scores(kTrained);
  EXPECT_NE(scores, Scores(kTinyAdapter));
  const Client owner = Client::Owner(*server_);
  ASSERT_TRUE(owner.CallOf(&v1::Models::Stub::UnloadAdapter, kTrained).ok());
  const auto loaded = owner.CallOf(&v1::Models::Stub::LoadAdapter, kTrained);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Scores(kTrained), scores);
}

}  // namespace
}  // namespace dissonance
