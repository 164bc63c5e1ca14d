// What a Train call may send, in which order, and the plan made of it.
#include "server/worker/train_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using internal::v1::TrainRequest;
using testing::ElementsAre;
using testing::HasSubstr;

class TrainIntakeTest : public testing::Test {
 protected:
  TrainIntakeTest() : registry_(at::kCPU) {
    EXPECT_TRUE(registry_
                    .LoadModel("models/m",
                               DISSONANCE_SOURCE_DIR
                               "/tests/goldens/e2e_chat/model",
                               {})
                    .ok());
    intake_.emplace(registry_, EngineOptions(), folder_.path());
  }

  absl::Status Take(const TrainRequest& request) {
    return intake_->Take(request, [] { return false; });
  }
  absl::Status Begin(const internal::v1::TrainBegin& begin) {
    TrainRequest request;
    *request.mutable_begin() = begin;
    return Take(request);
  }
  absl::Status Documents(int count) {
    TrainRequest request;
    for (int i = 0; i < count; ++i) {
      auto& document = *request.mutable_documents()->add_documents();
      document.set_line(++line_);
      document.set_content(absl::StrCat("fact number ", line_));
    }
    return Take(request);
  }
  absl::Status StartNow() {
    TrainRequest request;
    request.mutable_start();
    return Take(request);
  }
  static internal::v1::TrainBegin Usual() {
    internal::v1::TrainBegin begin;
    begin.set_model("models/m");
    begin.mutable_lora()->set_rank(4);
    begin.mutable_training()->set_micro_batch_size(2);
    begin.mutable_training()->set_accumulation_count(2);
    return begin;
  }

  TempFolder folder_;
  ModelRegistry registry_;
  std::optional<TrainIntake> intake_;
  int64_t line_ = 0;
};

TEST_F(TrainIntakeTest, SaysWhatWasExpectedOfAMessageOutOfOrder) {
  EXPECT_EQ(Documents(1), absl::InvalidArgumentError(
                              "Train: expected begin first, found documents"));
  ASSERT_TRUE(Begin(Usual()).ok());
  EXPECT_EQ(Begin(Usual()),
            absl::InvalidArgumentError("Train: expected documents, checkpoint "
                                       "or start after begin, found begin"));
  TrainRequest go_on;
  go_on.mutable_go_on();
  EXPECT_THAT(std::string(Take(go_on).message()), HasSubstr("found go_on"));
  EXPECT_THAT(std::string(Take(TrainRequest()).message()),
              HasSubstr("found an empty message"));
  EXPECT_EQ(StartNow(),
            absl::InvalidArgumentError(
                "Train: expected documents before start; there are none"));
}

TEST_F(TrainIntakeTest, PlansWithTheDefaultsFilledIn) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_evaluates(true);
  begin.mutable_training()->set_validation_fraction(0.25);
  ASSERT_TRUE(Begin(begin).ok());
  ASSERT_TRUE(Documents(10).ok());
  ASSERT_TRUE(Documents(10).ok());
  ASSERT_TRUE(StartNow().ok());
  EXPECT_TRUE(intake_->is_complete());
  TrainingBudget budget(int64_t{1} << 30, [] { return std::nullopt; });
  const auto training = intake_->Prepare(budget);
  ASSERT_TRUE(training.ok()) << training.status();
  const internal::v1::TrainingPlan& plan = training->plan;
  EXPECT_EQ(plan.documents().document_count(), 15);
  EXPECT_EQ(plan.validation().document_count(), 5);
  EXPECT_EQ(plan.steps_per_epoch(), 4);
  EXPECT_EQ(plan.step_count(), 12);
  EXPECT_EQ(plan.evaluation_step_count(), 1);
  EXPECT_EQ(plan.validation_step_count(), 4);
  // q, k, v, o of two blocks of width 48, keys of 24.
  EXPECT_EQ(plan.modules_size(), 8);
  EXPECT_EQ(plan.modules(0), "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(plan.parameter_count(), 2 * 4 * (96 + 72 + 72 + 96));
  EXPECT_EQ(plan.available_bytes(), int64_t{1} << 30);
  EXPECT_GT(plan.state_bytes(), 4 * plan.parameter_count());
  EXPECT_EQ(budget.free_bytes(),
            (int64_t{1} << 30) - plan.state_bytes() - plan.activation_bytes());
  EXPECT_EQ(plan.digest().substr(0, 7), "sha256:");
  EXPECT_EQ(plan.provenance().input_digest(), plan.digest());
  EXPECT_THAT(plan.adapter_config(), HasSubstr("\"lora_dropout\": 0.05"));
  // As PEFT looks for it, so no name of this server's.
  EXPECT_THAT(plan.adapter_config(),
              HasSubstr("\"base_model_name_or_path\": \"" DISSONANCE_SOURCE_DIR
                        "/tests/goldens/e2e_chat/model\""));
}

TEST_F(TrainIntakeTest, RefusesWhatDoesNotFitButPlansIt) {
  for (const bool plan_only : {false, true}) {
    intake_.emplace(registry_, EngineOptions(), folder_.path());
    internal::v1::TrainBegin begin = Usual();
    begin.set_plan_only(plan_only);
    ASSERT_TRUE(Begin(begin).ok());
    ASSERT_TRUE(Documents(3).ok());
    ASSERT_TRUE(StartNow().ok());
    TrainingBudget budget(1000, [] { return std::nullopt; });
    const auto training = intake_->Prepare(budget);
    if (plan_only) {
      ASSERT_TRUE(training.ok()) << training.status();
      EXPECT_EQ(training->plan.available_bytes(), 1000);
    } else {
      EXPECT_EQ(training.status().code(), absl::StatusCode::kResourceExhausted);
    }
    EXPECT_EQ(budget.free_bytes(), 1000);
  }
}

TEST_F(TrainIntakeTest, RendersChatsAtTheTimeThatItIsTold) {
  TempFolder model;
  std::filesystem::copy(DISSONANCE_SOURCE_DIR "/tests/goldens/e2e_chat/model",
                        model.path());
  std::ofstream(model.File("chat_template.jinja"))
      << "{{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}";
  ASSERT_TRUE(registry_.LoadModel("models/dated", model.path(), {}).ok());
  std::set<std::string> digests;
  constexpr int64_t kDay = 86400;
  for (const int64_t seconds : {5 * kDay, 5 * kDay + 60, 6 * kDay}) {
    intake_.emplace(registry_, EngineOptions(), folder_.path());
    internal::v1::TrainBegin begin = Usual();
    begin.set_model("models/dated");
    begin.mutable_template_time()->set_seconds(seconds);
    ASSERT_TRUE(Begin(begin).ok());
    TrainRequest request;
    v1::ChatMessage& message = *request.mutable_documents()
                                    ->add_documents()
                                    ->mutable_chat()
                                    ->add_messages();
    message.set_role("user");
    message.set_content("Hello");
    ASSERT_TRUE(Take(request).ok());
    ASSERT_TRUE(StartNow().ok());
    TrainingBudget budget(int64_t{1} << 30, [] { return std::nullopt; });
    const auto training = intake_->Prepare(budget);
    ASSERT_TRUE(training.ok()) << training.status();
    digests.insert(training->plan.digest());
  }
  EXPECT_EQ(digests.size(), 2U);
}

TEST_F(TrainIntakeTest, RefusesACheckpointThatNoStateCouldBe) {
  ASSERT_TRUE(Begin(Usual()).ok());
  TrainRequest request;
  request.set_checkpoint(std::string(size_t{1} << 20, 'x'));
  ASSERT_TRUE(Take(request).ok());
  const absl::Status refused = Take(request);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("it is of another training"));
}

TEST_F(TrainIntakeTest, RefusesADamagedCheckpointAndLeavesNoFile) {
  ASSERT_TRUE(Begin(Usual()).ok());
  ASSERT_TRUE(Documents(3).ok());
  TrainRequest request;
  request.set_checkpoint("no state");
  ASSERT_TRUE(Take(request).ok());
  ASSERT_TRUE(StartNow().ok());
  TrainingBudget budget(int64_t{1} << 30, [] { return std::nullopt; });
  EXPECT_EQ(intake_->Prepare(budget).status().code(),
            absl::StatusCode::kInvalidArgument);
  intake_.reset();
  EXPECT_THAT(folder_.Names(), ElementsAre());
  EXPECT_EQ(budget.free_bytes(), int64_t{1} << 30);
}

TEST_F(TrainIntakeTest, RefusesOptionsAndNamesThatAreNone) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_model("models/other");
  EXPECT_EQ(Begin(begin).code(), absl::StatusCode::kNotFound);
  begin = Usual();
  begin.mutable_lora()->set_dropout(1.5);
  EXPECT_THAT(std::string(Begin(begin).message()),
              HasSubstr("lora.dropout: 1.5 is not from 0"));
  begin = Usual();
  begin.mutable_training()->set_max_length_tokens(1);
  EXPECT_THAT(std::string(Begin(begin).message()),
              HasSubstr("training.max_length_tokens: 1"));
  begin = Usual();
  begin.set_adapter("models/other/adapters/a");
  EXPECT_THAT(std::string(Begin(begin).message()),
              HasSubstr("is not an adapter of models/m"));
  begin.set_adapter("models/m/adapters/a");
  EXPECT_THAT(std::string(Begin(begin).message()),
              HasSubstr("only dropout may be set beside an adapter"));
}

TEST_F(TrainIntakeTest, TakesNoMemoryBeforeItIsKnownToBeThere) {
  // 48 MB of weights.
  internal::v1::TrainBegin begin = Usual();
  begin.mutable_lora()->set_rank(8192);
  begin.mutable_lora()->add_target_modules("all-linear");
  for (const bool plan_only : {false, true}) {
    intake_.emplace(registry_, EngineOptions(), folder_.path());
    begin.set_plan_only(plan_only);
    ForgetPeak(at::kCPU);
    const int64_t before = PeakDeviceBytes(at::kCPU);
    ASSERT_TRUE(Begin(begin).ok());
    ASSERT_TRUE(Documents(3).ok());
    ASSERT_TRUE(StartNow().ok());
    TrainingBudget budget(1000, [] { return std::nullopt; });
    const auto training = intake_->Prepare(budget);
    EXPECT_EQ(training.ok(), plan_only) << training.status();
    if (training.ok()) {
      EXPECT_EQ(training->plan.parameter_count(), 12 << 20);
      EXPECT_EQ(training->plan.digest(), "");
    }
    EXPECT_LT(PeakDeviceBytes(at::kCPU) - before, 32 << 20);
  }
}

TEST_F(TrainIntakeTest, RefusesAnAdapterWhoseFilesAreOtherOnesNow) {
  const auto model = registry_.GetModel("models/m");
  ASSERT_TRUE(model.ok());
  TempFolder adapter;
  const auto write = [&](uint64_t seed) {
    PeftConfig config;
    config.rank = 4;
    const auto lora = LoraParameters::Init(config, *model->model, seed);
    ASSERT_TRUE(lora.ok()) << lora.status();
    ASSERT_TRUE(WriteSafetensors(adapter.File("adapter_model.safetensors"),
                                 lora->PeftTensors(model->model->spec()),
                                 PeftMetadata())
                    .ok());
    ASSERT_TRUE(WriteFileAtomically(
                    adapter.File("adapter_config.json"),
                    PeftConfigJson(lora->config(), model->model->spec(), ""))
                    .ok());
  };
  write(1);
  constexpr char kName[] = "models/m/adapters/a";
  ASSERT_TRUE(registry_.RegisterAdapter(kName, adapter.path()).ok());
  internal::v1::TrainBegin begin = Usual();
  begin.clear_lora();
  begin.set_adapter(kName);
  TrainingBudget budget(int64_t{1} << 30, [] { return std::nullopt; });
  for (const uint64_t seed : {1, 2}) {
    write(seed);
    intake_.emplace(registry_, EngineOptions(), folder_.path());
    ASSERT_TRUE(Begin(begin).ok());
    ASSERT_TRUE(Documents(3).ok());
    ASSERT_TRUE(StartNow().ok());
    const auto training = intake_->Prepare(budget);
    if (seed == 1) {
      ASSERT_TRUE(training.ok()) << training.status();
      EXPECT_EQ(training->plan.provenance().adapter_digest(),
                registry_.GetAdapter(kName)->adapter->digest());
    } else {
      EXPECT_EQ(training.status().code(),
                absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(training.status().message()),
                  HasSubstr("are other ones now"));
    }
  }
}

}  // namespace
}  // namespace dissonance
