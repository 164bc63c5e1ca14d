// Kept residual streams: whatever begins with one has the bits of a pass that
// begins with the embedding.
#include "src/compute/engine/trunk_store.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/compute/engine/engine.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

// Rows of 40 bytes.
Trunk TrunkAt(int64_t block, float value) {
  return {.block = block, .residual = at::full({2, 5}, value)};
}

TEST(TrunkStoreTest, GivesTheLastBlockUpToTheLatest) {
  TrunkStore store(1000);
  const TrunkKey key = {"a", {1, 2}, {}};
  EXPECT_EQ(store.Find(key, 9).block, 0);
  store.Keep(key, TrunkAt(2, 2.0F));
  store.Keep(key, TrunkAt(5, 5.0F));
  EXPECT_EQ(store.Find(key, 1).block, 0);
  EXPECT_EQ(store.Find(key, 2).block, 2);
  EXPECT_EQ(store.Find(key, 4).block, 2);
  EXPECT_EQ(store.Find(key, 9).block, 5);
  EXPECT_TRUE(store.Find(key, 4).residual.equal(TrunkAt(2, 2.0F).residual));
  EXPECT_EQ(store.bytes(), 80);
  store.Clear();
  EXPECT_TRUE(store.empty());
  EXPECT_EQ(store.bytes(), 0);
}

TEST(TrunkStoreTest, GivesThoseOfTheSameRowsAndNetworkOnly) {
  TrunkStore store(1000);
  store.Keep({"b", {1, 2}, {-1}}, TrunkAt(2, 1.0F));
  EXPECT_EQ(store.Find({"b", {1, 2}, {-1}}, 9).block, 2);
  EXPECT_EQ(store.Find({"a", {1, 2}, {-1}}, 9).block, 0);
  EXPECT_EQ(store.Find({"c", {1, 2}, {-1}}, 9).block, 0);
  EXPECT_EQ(store.Find({"b", {1, 3}, {-1}}, 9).block, 0);
  EXPECT_EQ(store.Find({"b", {1, 2}, {}}, 9).block, 0);
}

TEST(TrunkStoreTest, TheLeastRecentlyUsedGoesFirst) {
  TrunkStore store(80);
  const TrunkKey old = {"a", {1}, {}};
  const TrunkKey recent = {"a", {2}, {}};
  store.Keep(old, TrunkAt(1, 1.0F));
  store.Keep(recent, TrunkAt(1, 1.0F));
  EXPECT_EQ(store.Find(old, 1).block, 1);
  store.Keep({"a", {3}, {}}, TrunkAt(1, 1.0F));
  EXPECT_EQ(store.Find(old, 1).block, 1);
  EXPECT_EQ(store.Find(recent, 1).block, 0);
  EXPECT_EQ(store.bytes(), 80);
  store.Keep({"a", {4}, {}}, {.block = 1, .residual = at::full({5, 5}, 1.0F)});
  EXPECT_EQ(store.Find(old, 1).block, 1);
}

// One sequence of a sweep.
struct Request {
  EngineVariant variant;
  std::shared_ptr<const CaptureSpec> capture = nullptr;  // null: scores
};

// All numbers of a request that was computed, or why there are none.
struct Outcome {
  absl::Status status = absl::UnknownError("it has not ended");
  ScoreResult score;
  GenerateResult read;

  std::vector<double> numbers() const {
    std::vector<double> all;
    for (const ContinuationResult& own : score.continuations) {
      all.insert(all.end(), own.token_logprobs.begin(),
                 own.token_logprobs.end());
    }
    for (const GeneratedToken& token : read.prompt) {
      all.push_back(token.logprob);
    }
    for (const std::vector<at::Tensor>& step : read.captured) {
      for (const at::Tensor& rows : step) {
        const at::Tensor wide = rows.to(at::kDouble).flatten().contiguous();
        const double* data = wide.const_data_ptr<double>();
        all.insert(all.end(), data, data + wide.numel());
      }
    }
    return all;
  }
};

class TrunkTest : public testing::Test {
 protected:
  void Load(const std::string& family, at::ScalarType dtype) {
    model_ = LoadGoldenModel(
        ReadGolden("models/" + family).directory + "/model", dtype);
    ASSERT_NE(model_, nullptr);
  }
  void SetUp() override { Load("llama", at::kFloat); }

  int64_t block_count() const { return model_->spec().block_count(); }

  std::shared_ptr<const LoraAdapter> Adapter(const std::string& name) const {
    auto adapter = LoraAdapter::Load(
        ReadGolden("lora/" + name).directory + "/adapter", *model_);
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    return *adapter;
  }

  // Longer than the windows of all families.
  static std::vector<int32_t> Prompt() {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 53; ++i) tokens.push_back(3 + (i * 7) % 50);
    return tokens;
  }
  static ScoreTask Question() {
    return {.prompt = Prompt(), .continuations = {{5, 6, 7}, {5, 8}, {9}}};
  }

  std::shared_ptr<const Interventions> Change(const Intervention& own) const {
    auto ready = PrepareInterventions(*model_, {own});
    EXPECT_TRUE(ready.ok()) << ready.status();
    return *ready;
  }
  EngineVariant Steered(int64_t block, double coefficient) const {
    Intervention steer;
    steer.block = block;
    steer.vector = RandomTensor({model_->spec().d_model}, at::kFloat,
                                static_cast<uint64_t>(block));
    steer.coefficient = coefficient;
    return {.model = model_, .interventions = Change(steer)};
  }
  EngineVariant Scaled(SitePlace place, double factor) const {
    Intervention scale;
    scale.site = place.site;
    scale.block = place.block;
    scale.op = Intervention::Op::kScale;
    scale.coefficient = factor;
    return {.model = model_, .interventions = Change(scale)};
  }
  std::shared_ptr<const CaptureSpec> Keeping(SitePlace place) const {
    auto ready = PrepareCapture(
        *model_,
        {.places = {place}, .positions = Positions::Of(Positions::Kind::kAll)});
    EXPECT_TRUE(ready.ok()) << ready.status();
    return *ready;
  }

  // Every place that can be changed, in every block.
  std::vector<SitePlace> Places() const {
    std::vector<SitePlace> places;
    for (int64_t block = 0; block < block_count(); ++block) {
      for (int site = 0; site < static_cast<int>(Site::kFinalNorm); ++site) {
        const SitePlace place = {static_cast<Site>(site), block};
        if (place.site != Site::kPattern &&
            CheckSite(model_->spec(), place.site, block).ok()) {
          places.push_back(place);
        }
      }
    }
    places.push_back({Site::kFinalNorm, -1});
    return places;
  }
  // A change at each of them, of every kind in turn.
  std::vector<EngineVariant> Settings(const EngineVariant& variant) const {
    std::vector<EngineVariant> settings;
    for (const SitePlace& place : Places()) {
      const auto number = static_cast<int>(settings.size());
      Intervention change;
      change.site = place.site;
      change.block = place.block;
      if (number % 3 == 0) change.positions = Positions::Range(3, 40);
      change.op = static_cast<Intervention::Op>(number % 4);
      change.vector = RandomTensor({SiteWidth(model_->spec(), place.site)},
                                   at::kFloat, static_cast<uint64_t>(number));
      change.coefficient = 0.5;
      settings.emplace_back(variant).interventions = Change(change);
    }
    return settings;
  }

  static std::vector<int64_t> Submit(Engine& engine,
                                     const std::vector<Request>& requests,
                                     std::vector<Outcome>& outcomes) {
    outcomes.assign(requests.size(), {});
    std::vector<int64_t> numbers;
    for (size_t i = 0; i < requests.size(); ++i) {
      Outcome& own = outcomes[i];
      const auto number =
          requests[i].capture == nullptr
              ? engine.SubmitScore(
                    requests[i].variant, Question(),
                    [&own](const absl::StatusOr<ScoreResult>& result) {
                      own.status = result.status();
                      if (result.ok()) own.score = *result;
                    })
              : engine.SubmitGenerate(requests[i].variant,
                                      {.prompt = Prompt(),
                                       .max_new_tokens = 0,
                                       .prompt_logprobs = true,
                                       .capture = requests[i].capture},
                                      CollectInto(own.read));
      EXPECT_TRUE(number.ok()) << number.status();
      numbers.push_back(number.value_or(0));
    }
    return numbers;
  }
  static std::vector<Outcome> Run(Engine& engine,
                                  const std::vector<Request>& requests) {
    std::vector<Outcome> outcomes;
    Submit(engine, requests, outcomes);
    RunAll(engine);
    return outcomes;
  }
  static std::vector<double> Alone(const Request& request) {
    Engine engine({.attention_tile = 8, .prefix_cache_bytes = 0});
    return Run(engine, {request}).front().numbers();
  }
  static void ExpectAsAlone(const std::vector<Request>& requests,
                            const std::vector<Outcome>& outcomes) {
    for (size_t i = 0; i < requests.size(); ++i) {
      const std::vector<double> expected = Alone(requests[i]);
      ASSERT_FALSE(expected.empty());
      EXPECT_EQ(outcomes[i].numbers(), expected) << i;
    }
  }
  // Rows of a question's only step.
  static int64_t QuestionRows() {
    return static_cast<int64_t>(Prompt().size()) + 2;
  }
  int64_t TrunkBytes() const {
    return QuestionRows() * model_->spec().d_model * 4;
  }

  std::shared_ptr<const Model> model_;
};

class TrunkFamilyTest
    : public TrunkTest,
      public testing::WithParamInterface<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    Load(std::get<0>(GetParam()),
         static_cast<at::ScalarType>(std::get<1>(GetParam())));
  }
};

TEST_P(TrunkFamilyTest, EverySettingHasTheBitsThatItHasAlone) {
  std::vector<Request> requests = {{.variant = {.model = model_}}};
  for (const EngineVariant& own : Settings({.model = model_})) {
    requests.push_back({.variant = own});
  }
  // All at once, and a few in each step.
  for (const int64_t rows : {4096, 120}) {
    Engine engine({.step_tokens = rows, .attention_tile = 8});
    for (int time = 0; time < 2; ++time) {
      ExpectAsAlone(requests, Run(engine, requests));
    }
    // The second time all of them begin where they branch off.
    EXPECT_GT(engine.stats().spared_block_row_count,
              static_cast<int64_t>(requests.size()) * QuestionRows());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Families, TrunkFamilyTest,
    testing::Combine(testing::ValuesIn(GoldenNames("models")),
                     testing::Values(static_cast<int>(at::kFloat),
                                     static_cast<int>(at::kBFloat16))),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" +
             c10::toString(
                 static_cast<at::ScalarType>(std::get<1>(info.param)));
    });

TEST_F(TrunkTest, WhatIsKeptOfARowIsThere) {
  std::vector<Request> requests;
  std::vector<SitePlace> kept = Places();
  kept.push_back({Site::kLogits, -1});
  kept.push_back({Site::kPattern, 1});
  for (int64_t block = 0; block < block_count(); ++block) {
    for (const SitePlace& place : kept) {
      requests.push_back(
          {.variant = Steered(block, 2.0), .capture = Keeping(place)});
    }
  }
  requests.push_back(
      {.variant = {.model = model_}, .capture = Keeping({Site::kResidPre, 3})});
  Engine engine({.attention_tile = 8});
  ExpectAsAlone(requests, Run(engine, requests));
  EXPECT_GT(engine.stats().spared_block_row_count, 1000);
}

TEST_F(TrunkTest, AdaptersAndBaseHaveTheirOwn) {
  std::vector<Request> requests;
  for (const char* name : {"", "llama_all_linear_r4", "llama_qkvo_r8"}) {
    EngineVariant variant = Steered(2, 1.5);
    if (*name != '\0') variant.adapter = Adapter(name);
    requests.push_back({.variant = variant});
  }
  Engine engine({.attention_tile = 8});
  for (int time = 0; time < 2; ++time) {
    ExpectAsAlone(requests, Run(engine, requests));
    EXPECT_EQ(engine.stats().spared_block_row_count, time * 9 * QuestionRows());
    EXPECT_EQ(engine.stats().trunk_bytes, 3 * TrunkBytes());
  }
}

TEST_F(TrunkTest, DropoutGivesAndTakesNone) {
  EngineVariant plain = Steered(2, 1.5);
  plain.adapter = Adapter("llama_all_linear_r4");
  EngineVariant dropped = plain;
  dropped.dropout = DropoutKey{.value = 5};
  Engine engine({.attention_tile = 8});
  const std::vector<Request> requests = {{.variant = dropped},
                                         {.variant = plain}};
  for (int time = 0; time < 2; ++time) {
    ExpectAsAlone(requests, Run(engine, requests));
    EXPECT_EQ(engine.stats().trunk_bytes, TrunkBytes());
    EXPECT_EQ(engine.stats().spared_block_row_count, time * 3 * QuestionRows());
  }
}

TEST_F(TrunkTest, NothingIsKeptOfWhatDoesNotBranchOff) {
  Engine engine({.attention_tile = 8});
  const EngineVariant first = Scaled({Site::kResidPre, 0}, 2.0);
  Run(engine, {{.variant = {.model = model_}},
               {.variant = first},
               {.variant = Steered(2, 0.0)}});
  EXPECT_EQ(engine.stats().trunk_bytes, 0);
  Run(engine, {{.variant = Steered(0, 1.0)}});
  EXPECT_EQ(engine.stats().trunk_bytes, TrunkBytes());
  engine.ForgetPrefixes();
  engine.Step();
  EXPECT_EQ(engine.stats().trunk_bytes, 0);
}

// Seven of eight begin behind block 2 although all arrive together.
TEST_F(TrunkTest, ThoseThatArriveTogetherComputeWhatTheyShareOnce) {
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i)
    requests.push_back({.variant = Steered(2, 1 + i)});
  Engine engine({.attention_tile = 8});
  ExpectAsAlone(requests, Run(engine, requests));
  EXPECT_EQ(engine.stats().step_count, 1);
  EXPECT_EQ(engine.stats().spared_block_row_count, 7 * 3 * QuestionRows());
}

TEST_F(TrunkTest, TheOthersGoOnWithoutTheOneThatIsCancelled) {
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i)
    requests.push_back({.variant = Steered(2, 1 + i)});
  Engine engine({.attention_tile = 8});
  std::vector<Outcome> outcomes;
  const std::vector<int64_t> numbers = Submit(engine, requests, outcomes);
  engine.Cancel(numbers.front());
  RunAll(engine);
  EXPECT_TRUE(absl::IsCancelled(outcomes.front().status));
  outcomes.erase(outcomes.begin());
  requests.erase(requests.begin());
  ExpectAsAlone(requests, outcomes);
  EXPECT_EQ(engine.stats().spared_block_row_count, 6 * 3 * QuestionRows());
}

TEST_F(TrunkTest, TheOthersGoOnWithoutTheOneThatFails) {
  const EngineVariant failing = Scaled({Site::kResidPost, 2}, 1e300);
  std::vector<Request> requests = {{.variant = failing}};
  for (int i = 0; i < 7; ++i)
    requests.push_back({.variant = Steered(2, 1 + i)});
  Engine engine({.attention_tile = 8});
  std::vector<Outcome> outcomes = Run(engine, requests);
  EXPECT_EQ(outcomes.front().status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(outcomes.front().status.message()),
              HasSubstr("resid_post of block 2"));
  outcomes.erase(outcomes.begin());
  requests.erase(requests.begin());
  ExpectAsAlone(requests, outcomes);
  EXPECT_EQ(engine.stats().trunk_bytes, TrunkBytes());

  const Outcome late = Run(engine, {{.variant = failing}}).front();
  EXPECT_THAT(std::string(late.status.message()),
              HasSubstr("resid_post of block 2"));
}

TEST_F(TrunkTest, AFewBytesMakeItSlowerAndNothingElse) {
  std::vector<Request> requests;
  for (int i = 0; i < 3; ++i) {
    for (int64_t block = 0; block < block_count(); ++block) {
      requests.push_back({.variant = Steered(block, 1 + i)});
    }
  }
  // A quarter of it for trunks.
  for (const int64_t trunks : {0, 1, 2}) {
    Engine engine({.step_tokens = 120,
                   .attention_tile = 8,
                   .prefix_cache_bytes = 4 * trunks * TrunkBytes()});
    std::vector<Outcome> outcomes;
    Submit(engine, requests, outcomes);
    while (engine.Step()) {
      EXPECT_LE(engine.stats().trunk_bytes, trunks * TrunkBytes());
    }
    ExpectAsAlone(requests, outcomes);
    EXPECT_EQ(engine.stats().spared_block_row_count > 0, trunks > 0);
  }
}

// Four blocks, of which the last is computed: four times as many in a step.
TEST_F(TrunkTest, MoreOfThemFitAStep) {
  const std::vector<Request> first = {{.variant = Steered(2, 1.0)}};
  std::vector<Request> others;
  for (int i = 0; i < 8; ++i) others.push_back({.variant = Steered(2, 2 + i)});
  Engine engine({.step_tokens = 2 * QuestionRows() + 20, .attention_tile = 8});
  Run(engine, first);
  EXPECT_EQ(engine.stats().step_count, 1);
  ExpectAsAlone(others, Run(engine, others));
  EXPECT_EQ(engine.stats().step_count, 3);
}

// What is computed in pieces is computed from the embedding on.
TEST_F(TrunkTest, PromptsOfSeveralStepsAreNotAffected) {
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i)
    requests.push_back({.variant = Steered(2, 1 + i)});
  Engine engine({.step_tokens = 16, .attention_tile = 8});
  for (int time = 0; time < 2; ++time) {
    ExpectAsAlone(requests, Run(engine, requests));
  }
  EXPECT_EQ(engine.stats().trunk_bytes, 0);
}

}  // namespace
}  // namespace dissonance
