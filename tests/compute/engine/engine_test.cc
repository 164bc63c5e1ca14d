#include "src/compute/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
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
  const auto number = engine.SubmitGenerate(
      Base(), {.prompt = {1, 2}, .max_new_tokens = 200}, CollectInto(result));
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
                      .SubmitGenerate(Base(),
                                      {.prompt = {1, 2}, .max_new_tokens = 50},
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

// Takes tokens only while it is told to.
class SlowReader final : public GenerateListener {
 public:
  bool ready() const override { return reads; }
  bool OnToken(GeneratedToken /*token*/) override {
    ++token_count;
    return true;
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    end = reason.status();
  }
  bool reads = true;
  int token_count = 0;
  absl::Status end = absl::UnknownError("it has not ended");
};

TEST_F(EngineTest, AReaderThatStopsReadingStopsOnlyItself) {
  Engine engine({});
  const auto slow = std::make_shared<SlowReader>();
  ASSERT_TRUE(engine
                  .SubmitGenerate(
                      Base(), {.prompt = {1, 2}, .max_new_tokens = 20}, slow)
                  .ok());
  engine.Step();
  EXPECT_EQ(slow->token_count, 1);
  slow->reads = false;
  const GenerateResult other =
      GenerateNow(engine, Base(), {.prompt = {3, 4}, .max_new_tokens = 10});
  EXPECT_EQ(other.tokens.size(), 10);
  EXPECT_EQ(slow->token_count, 1);
  EXPECT_FALSE(engine.Step());
  slow->reads = true;
  engine.Wake();
  RunAll(engine);
  EXPECT_EQ(slow->token_count, 20);
  EXPECT_TRUE(slow->end.ok());
}

TEST_F(EngineTest, InteractivePromptsAreComputedBeforeJobs) {
  Engine engine({.step_tokens = 64});
  std::vector<std::string> order;
  const auto submit = [&](const std::string& name, Priority priority) {
    ScoreTask task{.prompt = std::vector<int32_t>(60, 1),
                   .continuations = {{2}}};
    ASSERT_TRUE(engine
                    .SubmitScore(
                        Base(), std::move(task),
                        [&order, name](auto) { order.push_back(name); },
                        priority)
                    .ok());
  };
  submit("job 1", Priority::kJob);
  submit("job 2", Priority::kJob);
  submit("user", Priority::kInteractive);
  RunAll(engine);
  EXPECT_EQ(order, (std::vector<std::string>{"user", "job 1", "job 2"}));
}

// Between two tokens of a user there is at most one small piece of a job, and
// between most of them none.
TEST_F(EngineTest, ALongPromptDelaysATokenByOnePieceOnly) {
  Engine engine({.step_tokens = 256,
                 .decode_step_tokens = 16,
                 .decode_steps_between = 2,
                 .attention_tile = 8});
  const auto user = std::make_shared<SlowReader>();
  ASSERT_TRUE(engine
                  .SubmitGenerate(
                      Base(), {.prompt = {1, 2}, .max_new_tokens = 50}, user)
                  .ok());
  engine.Step();
  GenerateResult job;
  ASSERT_TRUE(engine
                  .SubmitGenerate(Base(),
                                  {.prompt = std::vector<int32_t>(200, 3),
                                   .max_new_tokens = 1},
                                  CollectInto(job), Priority::kJob)
                  .ok());
  int64_t computed = engine.stats().prefill_token_count;
  int64_t since_piece = 2;
  while (!job.end.ok()) {
    const int tokens = user->token_count;
    ASSERT_TRUE(engine.Step());
    EXPECT_EQ(user->token_count, tokens + 1);
    const int64_t rows = engine.stats().prefill_token_count - computed;
    EXPECT_LE(rows, 16);
    EXPECT_TRUE(rows == 0 || since_piece >= 2) << since_piece;
    since_piece = rows == 0 ? since_piece + 1 : 0;
    computed = engine.stats().prefill_token_count;
  }
  EXPECT_EQ(job.tokens.size(), 1);
}

TEST_F(EngineTest, CancelledRequestsGiveAllTheirBytesBack) {
  Engine engine({.step_tokens = 32, .attention_tile = 8});
  std::mt19937 random(9);
  std::vector<GenerateResult> results(100);
  std::vector<int64_t> numbers;
  for (GenerateResult& result : results) {
    const auto submitted = engine.SubmitGenerate(
        Base(),
        {.prompt = std::vector<int32_t>(1 + random() % 60, 5),
         .max_new_tokens = static_cast<int64_t>(1 + random() % 40)},
        CollectInto(result));
    ASSERT_TRUE(submitted.ok()) << submitted.status();
    numbers.push_back(*submitted);
    for (size_t i = 0; i < random() % 4; ++i) engine.Step();
    if (random() % 2 == 0) engine.Cancel(numbers[random() % numbers.size()]);
  }
  EXPECT_GT(engine.stats().kv_cache_bytes, 0);
  for (const int64_t number : numbers) {
    engine.Cancel(number);
    if (random() % 8 == 0) engine.Step();
  }
  RunAll(engine);
  EXPECT_EQ(engine.stats().kv_cache_bytes, 0);
  EXPECT_EQ(engine.stats().sequence_count, 0);
  for (const GenerateResult& result : results) {
    EXPECT_TRUE(result.end.ok() || absl::IsCancelled(result.end.status()));
  }
}

// Counts down in pieces, or fails.
class Countdown final : public EngineWork {
 public:
  explicit Countdown(int left) : left_(left) {}
  bool RunPiece() override {
    if (left_ < 0) throw std::runtime_error("broken");
    ++pieces;
    return --left_ > 0;
  }
  void Finish(const absl::Status& status) override { end = status; }
  int pieces = 0;
  absl::Status end = absl::UnknownError("it has not ended");

 private:
  int left_;
};

TEST_F(EngineTest, WorkIsDoneInPiecesBetweenSteps) {
  Engine engine({});
  const auto work = std::make_shared<Countdown>(3);
  const auto broken = std::make_shared<Countdown>(-1);
  ASSERT_TRUE(engine.SubmitWork(work).ok());
  ASSERT_TRUE(engine.SubmitWork(broken).ok());
  engine.Step();
  EXPECT_EQ(work->pieces, 1);
  RunAll(engine);
  EXPECT_EQ(work->pieces, 3);
  EXPECT_TRUE(work->end.ok()) << work->end;
  EXPECT_EQ(broken->end.code(), absl::StatusCode::kInternal);
}

TEST_F(EngineTest, FeedsTheLastTokenBackForItsRowsAlone) {
  const auto capture = PrepareCapture(
      *model_, {.places = {{Site::kResidPost, 0}, {Site::kFinalNorm, -1}},
                .positions = Positions::Of(Positions::Kind::kGenerated)});
  ASSERT_TRUE(capture.ok());
  for (const int64_t count : {1, 5}) {
    GenerateTask task = {
        .prompt = {1, 2, 3}, .max_new_tokens = count, .capture = *capture};
    Engine engine({});
    const GenerateResult plain = GenerateNow(engine, Base(), task);
    task.feeds_last = true;
    const GenerateResult fed = GenerateNow(engine, Base(), task);
    ASSERT_TRUE(fed.end.ok()) << fed.end.status();
    EXPECT_EQ(fed.tokens, plain.tokens);
    EXPECT_EQ(fed.logprobs, plain.logprobs);
    EXPECT_EQ(*fed.end, FinishReason::kLength);
    EXPECT_EQ(plain.captured_positions.size(), count - 1);
    ASSERT_EQ(fed.captured_positions.size(), count);
    EXPECT_EQ(fed.captured_positions.back(), 2 + count);
    EXPECT_EQ(fed.Captured(1).size(0), count);
  }
}

TEST_F(EngineTest, RefusesCapturesThatNeverFit) {
  EngineOptions options;
  options.capture_bytes = 100;
  Engine engine(options);
  const auto capture =
      PrepareCapture(*model_, {.places = {{Site::kResidPost, 0}}});
  ASSERT_TRUE(capture.ok());
  GenerateResult result;
  const auto refused =
      engine.SubmitGenerate(Base(),
                            {.prompt = std::vector<int32_t>(30, 1),
                             .max_new_tokens = 0,
                             .capture = *capture},
                            CollectInto(result));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("fewer sites, blocks or positions"));
}

}  // namespace
}  // namespace dissonance
