#include "src/compute/engine/step_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "src/compute/engine/engine.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

class StepBatchTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }

  KvCache NewCache() const {
    return {model_->spec(), 16, model_->weights().embed.options()};
  }
  StepItem Item(std::vector<int32_t> tokens, int32_t target,
                KvCache* cache) const {
    StepItem item;
    item.work.wanted = {{.row = static_cast<int64_t>(tokens.size()) - 1,
                         .target_tokens = {target}}};
    item.work.tokens = std::move(tokens);
    item.cache = cache;
    return item;
  }

  std::shared_ptr<const Model> model_;
};

// The step fails behind the decoder, where the caches were already written.
TEST_F(StepBatchTest, AStepThatFailedCanBeRunAgain) {
  if (!model_->device().is_cpu()) {
    GTEST_SKIP() << "an index out of range ends a process that uses a GPU";
  }
  const auto no_such_token = static_cast<int32_t>(model_->spec().vocab_size);
  KvCache cache = NewCache();
  std::vector<StepItem> bad = {Item({1, 2, 3}, no_such_token, &cache)};
  EXPECT_THROW(RunStep(*model_, {}, bad), c10::Error);
  EXPECT_EQ(cache.length(), 0);

  std::vector<StepItem> again = {Item({1, 2, 3}, 5, &cache)};
  RunStep(*model_, {}, again);
  CommitStep(again.front());
  EXPECT_EQ(cache.length(), 3);
  KvCache fresh = NewCache();
  std::vector<StepItem> once = {Item({1, 2, 3}, 5, &fresh)};
  RunStep(*model_, {}, once);
  EXPECT_EQ(again.front().results.front().target_logprobs,
            once.front().results.front().target_logprobs);
}

TEST_F(StepBatchTest, MoreGenerationRowsThanOneTileHaveTheirOwnResults) {
  std::vector<StepItem> items;
  for (int32_t i = 0; i < 300; ++i) {
    items.push_back(Item({i % 50}, 7, nullptr));
    items.back().work.is_prefill = false;
  }
  RunStep(*model_, {}, items);
  for (size_t i = 0; i < items.size(); ++i) {
    std::vector<StepItem> alone = {
        Item({static_cast<int32_t>(i % 50)}, 7, nullptr)};
    alone.front().work.is_prefill = false;
    if (i < 50) RunStep(*model_, {}, alone);
    const StepItem& expected = i < 50 ? alone.front() : items[i - 50];
    EXPECT_EQ(items[i].results.front().target_logprobs,
              expected.results.front().target_logprobs)
        << i;
  }
}

TEST_F(StepBatchTest, NumbersThatAreNotFiniteAreAnErrorThatNamesTheSite) {
  at::Tensor down = model_->weights().blocks[1].down.weight;
  down.fill_(std::numeric_limits<float>::quiet_NaN());
  Engine engine({});
  absl::Status ended;
  ASSERT_TRUE(
      engine
          .SubmitScore({.model = model_, .adapter = nullptr, .dropout = {}},
                       {.prompt = {1, 2}, .continuations = {{3}}},
                       [&ended](auto result) { ended = result.status(); })
          .ok());
  while (engine.Step()) {
  }
  EXPECT_EQ(ended.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(ended.message()), HasSubstr("mlp_out of block 1"));
}

}  // namespace
}  // namespace dissonance
