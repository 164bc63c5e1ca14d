// Who gets a key/value cache when there is not enough for all: nobody waits
// for ever, and nobody who could go on stands still.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

class AdmissionTest : public testing::Test {
 protected:
  static std::shared_ptr<const Model> Load(const std::string& family) {
    return LoadGoldenModel(ReadGolden("models/" + family).directory + "/model",
                           at::kFloat);
  }
  void SetUp() override {
    a_ = Load("llama");
    b_ = Load("qwen2");
    ASSERT_NE(a_, nullptr);
    ASSERT_NE(b_, nullptr);
  }
  // The caches of so many tokens of both models.
  int64_t CacheBytes(int64_t a_tokens, int64_t b_tokens) const {
    return KvCache::BytesFor(a_->spec(), a_tokens, 4) +
           KvCache::BytesFor(b_->spec(), b_tokens, 4);
  }
  static void Submit(Engine& engine, const std::shared_ptr<const Model>& model,
                     int64_t prompt, int64_t count, GenerateResult& result) {
    const auto submitted = engine.SubmitGenerate(
        {.model = model},
        {.prompt = std::vector<int32_t>(static_cast<size_t>(prompt), 5),
         .max_new_tokens = count},
        CollectInto(result));
    ASSERT_TRUE(submitted.ok()) << submitted.status();
  }

  std::shared_ptr<const Model> a_;
  std::shared_ptr<const Model> b_;
};

TEST_F(AdmissionTest, AModelThatWaitsForRoomStopsNoOther) {
  Engine engine({.kv_cache_bytes = CacheBytes(0, 60), .prefix_cache_bytes = 0});
  GenerateResult b;
  Submit(engine, b_, 10, 50, b);
  ASSERT_TRUE(engine.Step());
  GenerateResult a;
  Submit(engine, a_, 10, 20, a);
  RunAll(engine);
  EXPECT_EQ(b.tokens.size(), 50U);
  EXPECT_EQ(a.tokens.size(), 20U);
}

TEST_F(AdmissionTest, SmallRequestsOfAnotherModelDoNotKeepALargeOneWaiting) {
  Engine engine(
      {.kv_cache_bytes = CacheBytes(60, 20), .prefix_cache_bytes = 0});
  std::vector<GenerateResult> small(12);
  GenerateResult large;
  Submit(engine, b_, 4, 60, small[0]);
  ASSERT_TRUE(engine.Step());
  Submit(engine, a_, 10, 60, large);
  for (size_t i = 1; i < small.size(); ++i) {
    Submit(engine, b_, 4, 8, small[i]);
  }
  while (large.tokens.empty()) {
    ASSERT_TRUE(engine.Step());
    // Those behind it wait.
    for (size_t i = 1; i < small.size(); ++i) {
      ASSERT_TRUE(small[i].tokens.empty() || !large.tokens.empty());
    }
  }
  RunAll(engine);
  for (const GenerateResult& own : small) EXPECT_TRUE(own.end.ok());
}

TEST_F(AdmissionTest, PromptsOfTwoModelsGetTheirTurnsBesideGeneration) {
  Engine engine({.step_tokens = 64,
                 .decode_step_tokens = 16,
                 .attention_tile = 8,
                 .prefix_cache_bytes = 0});
  GenerateResult a;
  GenerateResult b;
  Submit(engine, a_, 4, 120, a);
  Submit(engine, b_, 4, 120, b);
  ASSERT_TRUE(engine.Step());
  ASSERT_TRUE(engine.Step());
  std::vector<GenerateResult> many(40);
  for (GenerateResult& own : many) Submit(engine, a_, 16, 1, own);
  GenerateResult one;
  Submit(engine, b_, 16, 1, one);
  // Each model has every second step, and every fourth of those takes prompts.
  for (int step = 0; step < 16; ++step) ASSERT_TRUE(engine.Step());
  EXPECT_TRUE(one.end.ok()) << one.end.status();
  EXPECT_FALSE(many.back().end.ok());
  RunAll(engine);
  EXPECT_TRUE(many.back().end.ok());
}

// Goes on only while the other has as many rows.
class InStep final : public GenerateListener {
 public:
  bool ready() const override {
    return other == nullptr || rows <= other->rows;
  }
  bool OnToken(GeneratedToken /*token*/) override { return false; }
  void OnCaptured(CapturedRows captured) override {
    rows += static_cast<int64_t>(captured.positions.size());
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    end = reason.status();
  }

  const InStep* other = nullptr;
  int64_t rows = 0;
  absl::Status end = absl::UnknownError("it has not ended");
};

class TogetherTest : public AdmissionTest {
 protected:
  // Two prompts of 40 tokens in pieces of 8, each waiting for the other.
  absl::StatusOr<std::vector<int64_t>> SubmitPair(
      Engine& engine, std::vector<std::shared_ptr<InStep>>& listeners) {
    const auto capture = PrepareCapture(
        *a_, {.places = {{Site::kResidPost, 1}},
              .positions = Positions::Of(Positions::Kind::kPrompt)});
    EXPECT_TRUE(capture.ok()) << capture.status();
    std::vector<GenerateRequest> requests(2);
    const size_t first = listeners.size();
    for (GenerateRequest& own : requests) {
      listeners.push_back(std::make_shared<InStep>());
      own.variant.model = a_;
      own.task.prompt = std::vector<int32_t>(40, 7);
      own.task.max_new_tokens = 0;
      own.task.capture = *capture;
      own.listener = listeners.back();
    }
    listeners[first]->other = listeners[first + 1].get();
    listeners[first + 1]->other = listeners[first].get();
    return engine.SubmitTogether(std::move(requests), Priority::kInteractive);
  }
};

TEST_F(TogetherTest, TwoPairsWithRoomForOneEndBoth) {
  Engine engine({.step_tokens = 8,
                 .attention_tile = 8,
                 .kv_cache_bytes = CacheBytes(100, 0),
                 .prefix_cache_bytes = 0});
  std::vector<std::shared_ptr<InStep>> listeners;
  ASSERT_TRUE(SubmitPair(engine, listeners).ok());
  ASSERT_TRUE(SubmitPair(engine, listeners).ok());
  RunAll(engine);
  for (const auto& own : listeners) {
    EXPECT_TRUE(own->end.ok()) << own->end;
    EXPECT_EQ(own->rows, 40);
  }
  EXPECT_EQ(engine.stats().kv_cache_bytes, 0);
}

TEST_F(TogetherTest, WhatCanNeverFitTogetherIsRefused) {
  Engine engine({.step_tokens = 8,
                 .attention_tile = 8,
                 .kv_cache_bytes = CacheBytes(79, 0)});
  std::vector<std::shared_ptr<InStep>> listeners;
  const auto refused = SubmitPair(engine, listeners);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine.stats().sequence_count, 0);
}

TEST_F(TogetherTest, CancellingOneGivesItsShareBack) {
  Engine engine({.step_tokens = 8,
                 .attention_tile = 8,
                 .kv_cache_bytes = CacheBytes(100, 0),
                 .prefix_cache_bytes = 0});
  std::vector<std::shared_ptr<InStep>> listeners;
  for (int round = 0; round < 5; ++round) {
    const auto numbers = SubmitPair(engine, listeners);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    for (int step = 0; step < round; ++step) engine.Step();
    // Both: one alone would wait for the other for ever.
    for (const int64_t number : *numbers) engine.Cancel(number);
    RunAll(engine);
    EXPECT_EQ(engine.stats().kv_cache_bytes, 0);
  }
  ASSERT_TRUE(SubmitPair(engine, listeners).ok());
  RunAll(engine);
  EXPECT_TRUE(listeners.back()->end.ok()) << listeners.back()->end;
}

TEST_F(AdmissionTest, AnEngineWhoseReadersHaveStoppedIsNotBusy) {
  class Stopped final : public GenerateListener {
   public:
    bool ready() const override { return false; }
    bool OnToken(GeneratedToken /*token*/) override { return true; }
    void OnEnd(absl::StatusOr<FinishReason> /*reason*/) override {}
  };
  Engine engine({});
  engine.Start();
  ASSERT_TRUE(engine
                  .SubmitGenerate({.model = a_},
                                  {.prompt = {1, 2}, .max_new_tokens = 4},
                                  std::make_shared<Stopped>())
                  .ok());
  // The engine's thread looks at it and goes to sleep again.
  while (engine.stats().busy) std::this_thread::yield();
  EXPECT_EQ(engine.stats().sequence_count, 1);
}

}  // namespace
}  // namespace dissonance
