#include "src/lab/finetune/fine_tune_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace dissonance {
namespace {

using ::testing::StartsWith;

constexpr int64_t kPositions = 512;

v1::FineTuneSpec Spec() {
  v1::FineTuneSpec spec;
  spec.set_model("models/m");
  spec.set_output_adapter("models/m/adapters/out");
  spec.set_data("{\"content\": \"one\"}");
  return spec;
}

TEST(FineTuneSpecTest, FillsInTheDefaults) {
  const auto plan = CheckFineTune(Spec(), 4096);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->lora.rank(), 64);
  EXPECT_EQ(plan->lora.alpha(), 128);
  EXPECT_EQ(plan->lora.dropout(), 0.05);
  const v1::TrainingOptions& training = plan->training;
  EXPECT_EQ(training.epoch_count(), 3);
  EXPECT_EQ(training.max_step_count(), 0);
  EXPECT_EQ(training.learning_rate(), 2e-4);
  EXPECT_EQ(training.schedule(), v1::LEARNING_RATE_SCHEDULE_LINEAR);
  EXPECT_EQ(training.micro_batch_size(), 4);
  EXPECT_EQ(training.accumulation_count(), 4);
  EXPECT_EQ(training.beta1(), 0.9);
  EXPECT_EQ(training.beta2(), 0.999);
  EXPECT_EQ(training.epsilon(), 1e-8);
  EXPECT_EQ(training.max_grad_norm(), 1);
  EXPECT_EQ(training.max_length_tokens(), 2048);
  EXPECT_EQ(training.seed(), 42U);
  EXPECT_EQ(plan->checkpoints.step_count(), 50);
  EXPECT_EQ(plan->checkpoints.keep_count(), 2);
  EXPECT_EQ(plan->scoring, v1::MCQ_SCORING_LETTER_VARIANTS);
}

TEST(FineTuneSpecTest, KeepsZerosThatAreMeant) {
  v1::FineTuneSpec spec = Spec();
  spec.mutable_lora()->set_dropout(0);
  spec.mutable_training()->set_max_grad_norm(0);
  spec.mutable_training()->set_beta1(0);
  spec.mutable_training()->set_seed(0);
  const auto plan = CheckFineTune(spec, kPositions);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->lora.dropout(), 0);
  EXPECT_EQ(plan->training.max_grad_norm(), 0);
  EXPECT_EQ(plan->training.beta1(), 0);
  EXPECT_EQ(plan->training.seed(), 0U);
  // As long as the model takes.
  EXPECT_EQ(plan->training.max_length_tokens(), kPositions);
}

TEST(FineTuneSpecTest, AnAdapterToBeginWithKeepsItsShape) {
  v1::FineTuneSpec spec = Spec();
  spec.set_adapter("models/m/adapters/first");
  spec.mutable_lora()->set_dropout(0.1);
  const auto plan = CheckFineTune(spec, kPositions);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->lora.rank(), 0);
  EXPECT_EQ(plan->lora.dropout(), 0.1);
}

struct Refusal {
  std::function<void(v1::FineTuneSpec&)> change;
  std::string message;
};

void ExpectRefused(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    v1::FineTuneSpec spec = Spec();
    refusal.change(spec);
    const absl::Status status = CheckFineTune(spec, kPositions).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << refusal.message;
    EXPECT_THAT(std::string(status.message()), StartsWith(refusal.message));
  }
}

TEST(FineTuneSpecTest, RefusesNamesThatAreNone) {
  ExpectRefused(
      {{[](auto& s) { s.set_model("m"); },
        "fine_tune.model: expected \"models/MODEL\", found \"m\""},
       {[](auto& s) { s.clear_output_adapter(); },
        "fine_tune.output_adapter: expected \"models/m/adapters/ADAPTER\""},
       {[](auto& s) { s.set_output_adapter("models/other/adapters/a"); },
        "fine_tune.output_adapter: expected \"models/m/adapters/ADAPTER\""},
       {[](auto& s) { s.set_output_adapter("models/m/adapters/../a"); },
        "fine_tune.output_adapter: expected"},
       {[](auto& s) { s.set_output_adapter("models/m/adapters/~a"); },
        "fine_tune.output_adapter: expected"},
       {[](auto& s) {
          s.set_output_adapter("models/m/adapters/" + std::string(64, 'a'));
        },
        "fine_tune.output_adapter: expected"},
       {[](auto& s) { s.set_adapter("models/other/adapters/a"); },
        "fine_tune.adapter: expected \"models/m/adapters/ADAPTER\""},
       {[](auto& s) { s.set_adapter(s.output_adapter()); },
        "fine_tune.output_adapter: is the adapter that training begins with"},
       {[](auto& s) { s.set_visibility(static_cast<v1::Visibility>(9)); },
        "fine_tune.visibility: 9 names none"}});
}

TEST(FineTuneSpecTest, RefusesNumbersOutOfTheirRange) {
  using Spec = v1::FineTuneSpec;
  const auto training = [](auto set) {
    return [set](Spec& spec) { set(*spec.mutable_training()); };
  };
  ExpectRefused(
      {{training([](auto& t) { t.set_learning_rate(-1); }),
        "fine_tune.training.learning_rate: expected a number above 0, found "
        "-1"},
       {training([](auto& t) { t.set_learning_rate(std::nan("")); }),
        "fine_tune.training.learning_rate: expected a number above 0, found "
        "nan"},
       {training([](auto& t) { t.set_learning_rate(INFINITY); }),
        "fine_tune.training.learning_rate: expected"},
       {training([](auto& t) { t.set_epoch_count(-1); }),
        "fine_tune.training.epoch_count: expected a number from 1 to 10000, "
        "found -1"},
       {training([](auto& t) { t.set_max_step_count(-1); }),
        "fine_tune.training.max_step_count: expected"},
       {training([](auto& t) { t.set_warmup_step_count(-1); }),
        "fine_tune.training.warmup_step_count: expected"},
       {training([](auto& t) { t.set_micro_batch_size(1025); }),
        "fine_tune.training.micro_batch_size: expected"},
       {training([](auto& t) { t.set_accumulation_count(-4); }),
        "fine_tune.training.accumulation_count: expected"},
       {training([](auto& t) { t.set_weight_decay(-0.1); }),
        "fine_tune.training.weight_decay: expected a number not below 0"},
       {training([](auto& t) { t.set_beta1(1); }),
        "fine_tune.training.beta1: expected a number from 0 and below 1"},
       {training([](auto& t) { t.set_beta2(-0.1); }),
        "fine_tune.training.beta2: expected"},
       {training([](auto& t) { t.set_epsilon(-1e-8); }),
        "fine_tune.training.epsilon: expected"},
       {training([](auto& t) { t.set_max_grad_norm(-1); }),
        "fine_tune.training.max_grad_norm: expected"},
       {training([](auto& t) { t.set_max_length_tokens(513); }),
        "fine_tune.training.max_length_tokens: expected a number from 2 to "
        "512, found 513"},
       {training([](auto& t) { t.set_validation_fraction(0.6); }),
        "fine_tune.training.validation_fraction: expected a number from 0 to "
        "0.5, found 0.6"},
       {training([](auto& t) { t.set_validation_step_count(5); }),
        "fine_tune.training.validation_step_count: needs documents"},
       {training([](auto& t) { t.set_early_stop_patience(2); }),
        "fine_tune.training.early_stop_patience: needs documents"},
       {training([](auto& t) {
          t.set_schedule(static_cast<v1::LearningRateSchedule>(7));
        }),
        "fine_tune.training.schedule: 7 names none"},
       {[](Spec& s) { s.mutable_checkpoints()->set_step_count(-1); },
        "fine_tune.checkpoints.step_count: expected"},
       {[](Spec& s) { s.mutable_checkpoints()->set_keep_count(1001); },
        "fine_tune.checkpoints.keep_count: expected"}});
}

TEST(FineTuneSpecTest, RefusesShapesThatAreNone) {
  const auto lora = [](auto set) {
    return [set](v1::FineTuneSpec& spec) { set(*spec.mutable_lora()); };
  };
  ExpectRefused(
      {{lora([](auto& l) { l.set_rank(-1); }),
        "fine_tune.lora.rank: expected a number from 1 to 1024, found -1"},
       {lora([](auto& l) { l.set_alpha(-2); }),
        "fine_tune.lora.alpha: expected a number from 1e-06 to 1e+09, found "
        "-2"},
       {lora([](auto& l) { l.set_alpha(1e10); }),
        "fine_tune.lora.alpha: expected a number from 1e-06 to 1e+09, found "
        "1e+10"},
       {lora([](auto& l) { l.set_dropout(0.9995); }),
        "fine_tune.lora.dropout: expected a number from 0 to 0.999, found "
        "0.9995"},
       {lora([](auto& l) { l.add_target_modules(""); }),
        "fine_tune.lora.target_modules[0]: expected"},
       {lora([](auto& l) {
          l.add_target_modules("q_proj");
          l.add_target_modules("q_proj");
        }),
        "fine_tune.lora.target_modules[1]: \"q_proj\" is given twice"},
       {lora([](auto& l) {
          l.add_target_modules("q_proj");
          l.add_target_modules("all-linear");
        }),
        "fine_tune.lora.target_modules: \"all-linear\" stands alone"},
       {lora([](auto& l) { l.add_excluded_modules(""); }),
        "fine_tune.lora.excluded_modules[0]: expected"},
       {lora([](auto& l) { l.add_blocks(-1); }),
        "fine_tune.lora.blocks[0]: expected a number not below 0, found -1"},
       {lora([](auto& l) {
          l.add_blocks(1);
          l.add_blocks(1);
        }),
        "fine_tune.lora.blocks[1]: 1 is given twice"},
       {lora([](auto& l) { l.add_rank_pattern()->set_value(8); }),
        "fine_tune.lora.rank_pattern[0].pattern: expected"},
       {lora([](auto& l) {
          l.add_rank_pattern()->set_pattern("q_proj");
          l.mutable_rank_pattern(0)->set_value(1.5);
        }),
        "fine_tune.lora.rank_pattern[0].value: expected a whole number"},
       {lora([](auto& l) { l.add_alpha_pattern()->set_pattern("q_proj"); }),
        "fine_tune.lora.alpha_pattern[0].value: expected a number from 1e-06"},
       {lora([](auto& l) {
          l.add_alpha_pattern()->set_pattern("q_proj");
          l.mutable_alpha_pattern(0)->set_value(1e10);
        }),
        "fine_tune.lora.alpha_pattern[0].value: expected a number from 1e-06"},
       {[](auto& s) {
          s.set_adapter("models/m/adapters/first");
          s.mutable_lora()->set_rank(8);
        },
        "fine_tune.lora: has more than a dropout"}});
}

TEST(FineTuneSpecTest, RefusesBadFiles) {
  ExpectRefused(
      {{[](auto& s) { s.set_data("{}"); }, "data:1: content: missing"},
       {[](auto& s) {
          s.set_data_name("mine.jsonl");
          s.set_data("{");
        },
        "mine.jsonl:1: not JSON"},
       {[](auto& s) { s.set_data(std::string((16 << 20) + 1, ' ')); },
        "fine_tune.data: 16777217 bytes; at most 16777216"},
       {[](auto& s) { s.set_data_name(std::string(256, 'x')); },
        "fine_tune.data_name: 256 bytes"},
       {[](auto& s) { s.set_evaluation_data("{}"); },
        "evaluation_data:1: id: missing"},
       {[](auto& s) { s.mutable_evaluation()->set_step_count(5); },
        "fine_tune.evaluation: given without questions"},
       {[](auto& s) { s.mutable_evaluation()->set_step_count(-5); },
        "fine_tune.evaluation.step_count: expected"},
       {[](auto& s) {
          s.mutable_evaluation()->set_scoring(static_cast<v1::McqScoring>(99));
        },
        "fine_tune.evaluation: "}});
}

}  // namespace
}  // namespace dissonance
