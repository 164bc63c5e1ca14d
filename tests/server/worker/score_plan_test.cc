#include "server/worker/score_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string InTree(const std::string& path) {
  return absl::StrCat(DISSONANCE_SOURCE_DIR "/", path);
}

constexpr char kLlama[] = "models/llama";
constexpr char kAdapter[] = "models/llama/adapters/r8";

class ScorePlanTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry_ = new ModelRegistry(at::kCPU);
    ASSERT_TRUE(
        registry_->LoadModel("models/tiny", InTree("data/tiny_world/base"), {})
            .ok());
    ASSERT_TRUE(
        registry_
            ->LoadModel(kLlama, InTree("tests/goldens/models/llama/model"), {})
            .ok());
    // Has dropout; the model has no tokenizer.
    const auto adapter = registry_->RegisterAdapter(
        kAdapter, InTree("tests/goldens/lora/llama_qkvo_r8/adapter"));
    ASSERT_TRUE(adapter.ok()) << adapter.status();
  }
  static void TearDownTestSuite() { delete registry_; }

  static v1::ScoreRequest Request() {
    v1::ScoreRequest request;
    request.add_variants()->set_model("models/tiny");
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->set_text("The capital of");
    item.add_continuations()->set_text(" France");
    item.add_continuations()->set_text(" Spain");
    return request;
  }
  static v1::ScoreRequest DropoutRequest() {
    v1::ScoreRequest request;
    request.add_variants()->set_model(kLlama);
    request.mutable_variants(0)->set_adapter(kAdapter);
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->mutable_tokens()->add_ids(1);
    item.add_continuations()->mutable_tokens()->add_ids(2);
    request.mutable_dropout()->set_sample_count(3);
    request.mutable_dropout()->set_seed(9);
    return request;
  }
  static absl::StatusOr<ScorePlan> Plan(const v1::ScoreRequest& request,
                                        const RequestLimits& limits = {}) {
    return MakeScorePlan(request, *registry_, limits, [] { return false; });
  }

  static ModelRegistry* registry_;
};
ModelRegistry* ScorePlanTest::registry_ = nullptr;

TEST_F(ScorePlanTest, ContinuationsOfOneContextShareOneSequence) {
  const absl::StatusOr<ScorePlan> plan = Plan(Request());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const EncodedItem& item = plan->variants[0].items->front();
  ASSERT_EQ(item.groups.size(), 1U);
  EXPECT_THAT(item.groups[0].continuations, ElementsAre(0, 1));
  EXPECT_EQ(item.prompt_token_count,
            static_cast<int>(item.groups[0].task.prompt.size()));
  EXPECT_EQ(plan->Tasks().size(), 1U);
}

TEST_F(ScorePlanTest, AMergeAcrossTheCutMakesItsOwnContext) {
  v1::ScoreRequest request = Request();
  request.mutable_items(0)->mutable_prompt()->set_text("grav");
  request.mutable_items(0)->mutable_continuations(0)->set_text("ity is one");
  request.mutable_items(0)->mutable_continuations(1)->set_text(" x");
  const auto model = registry_->GetModel("models/tiny");
  ASSERT_TRUE(model.ok());
  const auto prompt = model->tokenizer->Encode("grav", true);
  const auto whole = model->tokenizer->Encode("gravity is one", true);
  ASSERT_TRUE(prompt.ok() && whole.ok());
  const bool merges =
      !std::equal(prompt->begin(), prompt->end(), whole->begin());
  const absl::StatusOr<ScorePlan> plan = Plan(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const EncodedItem& item = plan->variants[0].items->front();
  ASSERT_EQ(item.groups.size(), merges ? 2U : 1U);
  const ContextGroup& group = item.groups[0];
  std::vector<int32_t> joined = group.task.prompt;
  joined.insert(joined.end(), group.task.continuations[0].begin(),
                group.task.continuations[0].end());
  EXPECT_EQ(joined, *whole);
  EXPECT_EQ(group.task.prompt.size(), prompt->size());
}

TEST_F(ScorePlanTest, OnlyAnAdapterWithDropoutIsSampled) {
  v1::ScoreRequest request = DropoutRequest();
  *request.add_variants() = request.variants(0);
  request.mutable_variants(0)->clear_adapter();
  const absl::StatusOr<ScorePlan> plan = Plan(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->variants[0].computed_samples, 1);
  ASSERT_EQ(plan->variants[1].computed_samples, 3);
  const std::vector<ScoreTaskPlace> tasks = plan->Tasks();
  ASSERT_EQ(tasks.size(), 4U);
  EXPECT_FALSE(plan->VariantOf(tasks[0]).dropout.has_value());
  const auto key = [&](int i) {
    return plan->VariantOf(tasks[i]).dropout->value;
  };
  EXPECT_NE(key(1), key(2));
  EXPECT_NE(key(2), key(3));
  const absl::StatusOr<ScorePlan> again = Plan(request);
  EXPECT_EQ(again->VariantOf(tasks[1]).dropout->value, key(1));
}

TEST_F(ScorePlanTest, TheDropoutMaskFollowsTheItemsIdNotItsPlace) {
  v1::ScoreRequest request = DropoutRequest();
  request.mutable_items(0)->mutable_prompt()->set_id("a");
  v1::ScoreItem second = request.items(0);
  second.mutable_prompt()->set_id("b");
  *request.add_items() = second;
  v1::ScoreRequest swapped = request;
  swapped.mutable_items()->SwapElements(0, 1);
  const auto plan = Plan(request);
  const auto other = Plan(swapped);
  ASSERT_TRUE(plan.ok() && other.ok());
  EXPECT_EQ(plan->VariantOf({0, 0, 0, 0}).dropout->value,
            other->VariantOf({0, 1, 0, 0}).dropout->value);
  EXPECT_NE(plan->VariantOf({0, 0, 0, 0}).dropout->value,
            plan->VariantOf({0, 1, 0, 0}).dropout->value);
}

TEST_F(ScorePlanTest, TheResponseCopiesWhatIsEqualForAllSamples) {
  v1::ScoreRequest request = Request();
  request.mutable_dropout()->set_sample_count(3);
  const absl::StatusOr<ScorePlan> plan = Plan(request);
  ASSERT_TRUE(plan.ok());
  ScoreResult result;
  result.continuations = {{.logprob = -1.0, .token_logprobs = {-1.0}},
                          {.logprob = -2.0, .token_logprobs = {-2.0}}};
  result.computed_tokens = 7;
  const v1::ScoreResponse response =
      MakeScoreResponse(*plan, {result}, EngineOptions{});
  ASSERT_EQ(response.scores_size(), 3);
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(response.scores(s).sample_index(), s);
    EXPECT_EQ(response.scores(s).continuations(1).logprob(), -2.0);
  }
  EXPECT_EQ(response.computed_token_count(), 7);
}

TEST_F(ScorePlanTest, LimitsAreNamed) {
  const auto message = [](const RequestLimits& limits) {
    v1::ScoreRequest request = Request();
    *request.add_items() = request.items(0);
    const absl::Status status = Plan(request, limits).status();
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message({.text_bytes = 5}), HasSubstr("limits.text_bytes"));
  EXPECT_THAT(message({.items = 1}), HasSubstr("limits.items"));
  EXPECT_THAT(message({.continuations = 1}), HasSubstr("limits.continuations"));
  EXPECT_THAT(message({.tokens = 3}), HasSubstr("limits.tokens"));
}

TEST_F(ScorePlanTest, EqualSamplesCountAsWhatTheirCopiesTake) {
  v1::ScoreRequest request = Request();
  request.mutable_dropout()->set_sample_count(1000);
  EXPECT_TRUE(Plan(request).ok());
  EXPECT_THAT(std::string(Plan(request, {.tokens = 1000}).status().message()),
              HasSubstr("limits.tokens"));
}

TEST_F(ScorePlanTest, TextIsNotEncodedAgainAndAgainWithoutBound) {
  v1::ScoreRequest request = Request();
  v1::ScoreItem& item = *request.mutable_items(0);
  item.mutable_prompt()->set_text(std::string(1000, 'a'));
  for (int i = 0; i < 1000; ++i) item.add_continuations()->set_text(" b");
  EXPECT_TRUE(Plan(request).ok());
  EXPECT_THAT(std::string(Plan(request, {.tokens = 8000}).status().message()),
              HasSubstr("bytes of prompts with their continuations"));
}

TEST_F(ScorePlanTest, EncodingStopsWhenNobodyWaits) {
  int asked = 0;
  const absl::Status status =
      MakeScorePlan(Request(), *registry_, {}, [&asked] {
        return ++asked == 2;
      }).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(ScorePlanTest, WhatIsMissingIsNamedByField) {
  const auto message = [](const v1::ScoreRequest& request) {
    return std::string(Plan(request).status().message());
  };
  v1::ScoreRequest request = Request();
  request.mutable_items(0)->mutable_prompt()->clear_content();
  EXPECT_THAT(message(request), HasSubstr("items[0]: prompt: "));
  request = Request();
  request.mutable_items(0)->mutable_continuations(1)->clear_content();
  EXPECT_THAT(message(request), HasSubstr("items[0]: continuations[1]: "));
  request = Request();
  request.mutable_variants(0)->set_adapter("models/tiny/adapters/no");
  EXPECT_THAT(message(request), HasSubstr("variants[0]: "));
  request = Request();
  request.mutable_dropout();
  EXPECT_THAT(message(request), HasSubstr("dropout.sample_count"));
}

}  // namespace
}  // namespace dissonance
