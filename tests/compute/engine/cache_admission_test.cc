// Caches that sequences give up while their readers do not read: whoever can go
// on goes on, and what was given up comes back bit for bit.
#include "src/compute/engine/cache_admission.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "src/compute/engine/engine.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/gate.h"

namespace dissonance {
namespace {

class CacheAdmissionTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }
  // Room for sequences of so many tokens altogether; prompts of 43 tokens come
  // in six pieces.
  EngineOptions Options(int64_t tokens) const {
    return {.step_tokens = 8,
            .attention_tile = 8,
            .kv_cache_bytes = KvCache::BytesFor(model_->spec(), tokens, 4),
            .reclaim_seconds = 0,
            .prefix_cache_bytes = 0};
  }
  GenerateTask Task(int64_t new_tokens) const {
    GenerateTask task;
    for (int32_t i = 0; i < 43; ++i) task.prompt.push_back(3 + (i * 7) % 50);
    task.max_new_tokens = new_tokens;
    task.sampling = {.temperature = 1.0, .seed = 4};
    task.top_logprobs = 2;
    task.prompt_logprobs = true;
    const auto capture = PrepareCapture(
        *model_,
        {.places = {{Site::kResidPost, 1}, {Site::kK, 0}, {Site::kLogits, -1}},
         .positions = Positions::Of(Positions::Kind::kAll)});
    EXPECT_TRUE(capture.ok()) << capture.status();
    task.capture = *capture;
    return task;
  }
  static std::shared_ptr<Gate> Submit(Engine& engine,
                                      std::shared_ptr<const Model> model,
                                      GenerateTask task,
                                      GenerateResult& result) {
    auto gate = std::make_shared<Gate>(result);
    const auto number = engine.SubmitGenerate({.model = std::move(model)},
                                              std::move(task), gate);
    EXPECT_TRUE(number.ok()) << number.status();
    return gate;
  }
  static void ExpectSame(const GenerateResult& a, const GenerateResult& b) {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.logprobs, b.logprobs);
    EXPECT_EQ(a.top, b.top);
    EXPECT_EQ(a.captured_positions, b.captured_positions);
    ASSERT_EQ(a.prompt.size(), b.prompt.size());
    for (size_t i = 0; i < a.prompt.size(); ++i) {
      EXPECT_EQ(a.prompt[i].token, b.prompt[i].token);
      EXPECT_EQ(a.prompt[i].logprob, b.prompt[i].logprob);
    }
    for (size_t place = 0; place < 3; ++place) {
      EXPECT_TRUE(a.Captured(place).equal(b.Captured(place))) << place;
    }
  }

  std::shared_ptr<const Model> model_;
};

TEST_F(CacheAdmissionTest, WhoDoesNotReadGivesItsCacheAndLosesNothing) {
  Engine alone(Options(70));
  const GenerateResult expected =
      GenerateNow(alone, {.model = model_}, Task(20));
  ASSERT_TRUE(expected.end.ok()) << expected.end.status();
  // Within the prompt, at its end, in the middle of generation.
  for (const int stop : {1, 3, 5, 6, 7, 15, 24}) {
    Engine engine(Options(70));
    GenerateResult slow;
    const auto gate = Submit(engine, model_, Task(20), slow);
    for (int step = 0; step < stop; ++step) ASSERT_TRUE(engine.Step());
    gate->is_shut = true;
    GenerateResult other;
    Submit(engine, model_, Task(9), other);
    RunAll(engine);
    EXPECT_EQ(other.tokens.size(), 9U) << stop;
    EXPECT_FALSE(slow.end.ok()) << stop;
    EXPECT_EQ(engine.stats().reclaimed_cache_count, 1) << stop;
    EXPECT_EQ(engine.stats().kv_cache_bytes, 0) << stop;
    gate->is_shut = false;
    RunAll(engine);
    ASSERT_TRUE(slow.end.ok()) << stop << slow.end.status();
    ExpectSame(slow, expected);
  }
}

TEST_F(CacheAdmissionTest,
       AnEarlierOneThatWakesTakesItFromALaterOneThatSleeps) {
  Engine engine(Options(70));
  GenerateResult early;
  GenerateResult late;
  const auto first = Submit(engine, model_, Task(4), early);
  first->is_shut = true;
  const auto second = Submit(engine, model_, Task(4), late);
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(engine.Step());
  second->is_shut = true;
  first->is_shut = false;
  RunAll(engine);
  EXPECT_TRUE(early.end.ok()) << early.end.status();
  second->is_shut = false;
  RunAll(engine);
  EXPECT_TRUE(late.end.ok()) << late.end.status();
  ExpectSame(early, late);
}

TEST_F(CacheAdmissionTest, NothingIsTakenBackWhereThatDoesNotHelp) {
  Engine engine(Options(2 * 63));
  GenerateResult reading;
  GenerateResult slow;
  GenerateResult large;
  Submit(engine, model_, Task(20), reading);
  const auto gate = Submit(engine, model_, Task(20), slow);
  while (slow.captured_positions.empty()) ASSERT_TRUE(engine.Step());
  ASSERT_FALSE(reading.end.ok());
  gate->is_shut = true;
  Submit(engine, model_, Task(60), large);
  ASSERT_TRUE(engine.Step());
  EXPECT_EQ(engine.stats().reclaimed_cache_count, 0);
  RunAll(engine);
  EXPECT_TRUE(reading.end.ok());
  EXPECT_TRUE(large.end.ok());
  EXPECT_EQ(engine.stats().reclaimed_cache_count, 1);
  gate->is_shut = false;
  RunAll(engine);
  EXPECT_TRUE(slow.end.ok());
}

TEST_F(CacheAdmissionTest, AReaderKeepsItsCacheForAWhile) {
  EngineOptions options = Options(70);
  options.reclaim_seconds = 1e6;
  Engine engine(options);
  GenerateResult slow;
  GenerateResult other;
  const auto gate = Submit(engine, model_, Task(4), slow);
  ASSERT_TRUE(engine.Step());
  gate->is_shut = true;
  Submit(engine, model_, Task(4), other);
  RunAll(engine);
  EXPECT_FALSE(other.end.ok());
  gate->is_shut = false;
  RunAll(engine);
  EXPECT_TRUE(slow.end.ok());
  EXPECT_TRUE(other.end.ok());
  EXPECT_EQ(engine.stats().reclaimed_cache_count, 0);
}

// Nobody wakes the engine when the time has come.
TEST_F(CacheAdmissionTest, TheEnginesThreadComesBackForIt) {
  class Reader final : public GenerateListener {
   public:
    bool ready() const override { return !is_shut; }
    bool OnToken(GeneratedToken /*token*/) override {
      is_shut = stops;
      return true;
    }
    void OnEnd(absl::StatusOr<FinishReason> /*reason*/) override {
      ended.Notify();
    }
    bool stops = false;
    std::atomic<bool> is_shut = false;
    absl::Notification ended;
  };
  const auto slow = std::make_shared<Reader>();
  const auto other = std::make_shared<Reader>();
  slow->stops = true;
  EngineOptions options = Options(70);
  options.reclaim_seconds = 0.05;
  Engine engine(options);
  engine.Start();
  for (const auto& reader : {slow, other}) {
    ASSERT_TRUE(engine.SubmitGenerate({.model = model_}, Task(9), reader).ok());
  }
  other->ended.WaitForNotification();
  EXPECT_FALSE(slow->ended.HasBeenNotified());
}

class GroupTest : public CacheAdmissionTest {
 protected:
  // Two that get their caches together.
  std::vector<std::shared_ptr<Gate>> SubmitPair(
      Engine& engine, std::vector<GenerateResult>& results) {
    std::vector<std::shared_ptr<Gate>> gates;
    std::vector<GenerateRequest> requests;
    for (GenerateResult& result : results) {
      gates.push_back(std::make_shared<Gate>(result));
      requests.push_back({.variant = {.model = model_},
                          .task = Task(0),
                          .listener = gates.back()});
    }
    const auto numbers =
        engine.SubmitTogether(std::move(requests), Priority::kInteractive);
    EXPECT_TRUE(numbers.ok()) << numbers.status();
    return gates;
  }
};

TEST_F(GroupTest, AReservedShareIsHeldBackByNobody) {
  Engine engine(Options(2 * 43));
  GenerateResult large;
  const auto gate = Submit(engine, model_, Task(40), large);
  gate->is_shut = true;
  std::vector<GenerateResult> pair(2);
  const auto gates = SubmitPair(engine, pair);
  // The second is not in this step, but its share is reserved.
  ASSERT_TRUE(engine.Step());
  EXPECT_TRUE(pair[1].captured_positions.empty());
  // The first waits for the second, as the members of a reading do.
  gates[0]->is_shut = true;
  gate->is_shut = false;
  ASSERT_TRUE(engine.Step());
  EXPECT_FALSE(pair[1].captured_positions.empty());
  gates[0]->is_shut = false;
  RunAll(engine);
  for (const GenerateResult& own : pair) EXPECT_TRUE(own.end.ok());
  EXPECT_TRUE(large.end.ok());
}

TEST_F(GroupTest, AGroupGivesBackAllOrNothing) {
  Engine alone(Options(70));
  const GenerateResult expected =
      GenerateNow(alone, {.model = model_}, Task(0));
  for (const int stop : {1, 2, 3, 5}) {
    Engine engine(Options(2 * 43));
    std::vector<GenerateResult> pair(2);
    const auto gates = SubmitPair(engine, pair);
    for (int step = 0; step < stop; ++step) ASSERT_TRUE(engine.Step());
    for (const auto& gate : gates) gate->is_shut = true;
    GenerateResult other;
    Submit(engine, model_, Task(9), other);
    RunAll(engine);
    EXPECT_EQ(other.tokens.size(), 9U) << stop;
    EXPECT_EQ(engine.stats().kv_cache_bytes, 0) << stop;
    for (const auto& gate : gates) gate->is_shut = false;
    RunAll(engine);
    for (const GenerateResult& own : pair) {
      ASSERT_TRUE(own.end.ok()) << stop << own.end.status();
      ExpectSame(own, expected);
    }
    EXPECT_EQ(engine.stats().kv_cache_bytes, 0) << stop;
  }
}

// What is kept bounds a piece by the densest part of the prompt, and patterns
// by all their rows.
TEST_F(CacheAdmissionTest, PiecesAreSmallWhereMuchIsKept) {
  const auto steps = [&](CaptureSpec capture, int64_t capture_bytes) {
    EngineOptions options = Options(200);
    options.step_tokens = 64;
    options.capture_bytes = capture_bytes;
    Engine engine(options);
    GenerateTask task;
    task.prompt.assign(64, 5);
    task.max_new_tokens = 0;
    const auto prepared = PrepareCapture(*model_, std::move(capture));
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    task.capture = *prepared;
    EXPECT_TRUE(GenerateNow(engine, {.model = model_}, task).end.ok());
    return engine.stats().step_count;
  };
  const CaptureSpec first = {.places = {{Site::kResidPost, 1}},
                             .positions = Positions::Range(0, 8)};
  const int64_t row_bytes = CaptureRowBytes(*model_, first, 64);
  EXPECT_EQ(steps(first, 64 * row_bytes), 1);
  EXPECT_EQ(steps(first, 16 * row_bytes), 4);
  const CaptureSpec pattern = {
      .places = {{Site::kPattern, 1}},
      .positions = Positions::Of(Positions::Kind::kLastPrompt)};
  const int64_t pattern_bytes = CaptureRowBytes(*model_, pattern, 64);
  EXPECT_EQ(steps(pattern, 80 * pattern_bytes), 1);
  EXPECT_EQ(steps(pattern, 18 * pattern_bytes), 4);
}

}  // namespace
}  // namespace dissonance
