#include "src/compute/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }
  EngineVariant Base() const {
    return {.model = model_, .adapter = nullptr, .dropout = {}};
  }

  std::shared_ptr<const Model> model_;
};

TEST_F(EngineTest, AnswersRequestsFromManyThreads) {
  Engine engine({});
  engine.Start();
  absl::BlockingCounter left(40);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const auto submitted = engine.SubmitScore(
            Base(), {.prompt = {1, t, i}, .continuations = {{2}, {3, 4}}},
            [&left](const absl::StatusOr<ScoreResult>& result) {
              EXPECT_TRUE(result.ok()) << result.status();
              left.DecrementCount();
            });
        EXPECT_TRUE(submitted.ok()) << submitted.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  left.Wait();
}

TEST_F(EngineTest, CancelEndsASequenceAndFreesItsCache) {
  Engine engine({});
  GenerateResult result;
  const auto number =
      engine.SubmitGenerate(Base(), {.prompt = {1, 2}, .max_new_tokens = 200},
                            CollectInto(result));
  ASSERT_TRUE(number.ok()) << number.status();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(engine.Step());
  EXPECT_GT(engine.stats().kv_cache_bytes, 0);
  engine.Cancel(*number);
  EXPECT_FALSE(engine.Step());
  EXPECT_EQ(result.end.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine.stats().kv_cache_bytes, 0);
  EXPECT_EQ(engine.stats().sequence_count, 0);
}

TEST_F(EngineTest, DestructionEndsEverySequenceOnce) {
  std::vector<GenerateResult> results(5);
  {
    Engine engine({});
    for (GenerateResult& result : results) {
      ASSERT_TRUE(engine
                      .SubmitGenerate(
                          Base(), {.prompt = {1, 2}, .max_new_tokens = 50},
                          CollectInto(result))
                      .ok());
    }
    engine.Step();
  }
  for (const GenerateResult& result : results) {
    EXPECT_EQ(result.end.status().code(), absl::StatusCode::kCancelled);
  }
}

TEST_F(EngineTest, RefusesWhatCanNeverFit) {
  EngineOptions options;
  options.kv_cache_bytes = 1000;
  Engine engine(options);
  GenerateResult result;
  const auto refused = engine.SubmitGenerate(
      Base(), {.prompt = {1, 2}, .max_new_tokens = 50}, CollectInto(result));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("the limit is 1000"));
}

TEST_F(EngineTest, RefusesMoreThanTheQueueHolds) {
  EngineOptions options;
  options.queue_limit = 2;
  Engine engine(options);
  const auto submit = [&] {
    return engine.SubmitScore(Base(), {.prompt = {1}, .continuations = {{2}}},
                              [](auto) {});
  };
  EXPECT_TRUE(submit().ok());
  EXPECT_TRUE(submit().ok());
  EXPECT_EQ(submit().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(EngineTest, SequencesWaitForRoomInTheCacheAndAllFinish) {
  EngineOptions options;
  options.kv_cache_bytes = KvCache::BytesFor(model_->spec(), 24, 4);
  Engine engine(options);
  std::vector<GenerateResult> results(6);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(
        engine
            .SubmitGenerate(Base(), {.prompt = {1, i}, .max_new_tokens = 10},
                            CollectInto(results[static_cast<size_t>(i)]))
            .ok());
  }
  while (engine.Step()) {
    EXPECT_LE(engine.stats().kv_cache_bytes, options.kv_cache_bytes);
  }
  for (const GenerateResult& result : results) {
    EXPECT_TRUE(result.end.ok()) << result.end.status();
  }
}

TEST_F(EngineTest, GenerationEndsAtAStopToken) {
  Engine engine({});
  const GenerateResult whole = GenerateNow(
      engine, Base(),
      {.prompt = {5, 6, 7}, .max_new_tokens = 8, .stop_tokens = {}});
  const GenerateResult stopped =
      GenerateNow(engine, Base(),
                  {.prompt = {5, 6, 7},
                   .max_new_tokens = 8,
                   .stop_tokens = {whole.tokens[2]}});
  EXPECT_EQ(stopped.tokens.back(), whole.tokens[2]);
  EXPECT_LE(stopped.tokens.size(), 3);
  EXPECT_EQ(*stopped.end, FinishReason::kStopToken);
  EXPECT_EQ(*whole.end, FinishReason::kLength);
}

}  // namespace
}  // namespace dissonance
