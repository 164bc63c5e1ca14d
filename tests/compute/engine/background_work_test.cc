// Background works in the engine: whom they give way to, whom they don't, and
// that nothing computed beside them changes.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "src/compute/engine/engine.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

// Writes its name down at each piece.
class Diary final : public EngineWork {
 public:
  Diary(char name, int pieces, std::string& diary)
      : name_(name), left_(pieces), diary_(diary) {}
  bool RunPiece() override {
    diary_ += name_;
    return --left_ > 0;
  }
  void Finish(const absl::Status& status) override { end = status; }
  bool is_background() const override { return true; }
  bool ready() const override { return is_ready; }
  bool cancelled() const override { return is_cancelled; }

  bool is_ready = true;
  bool is_cancelled = false;
  absl::Status end = absl::UnknownError("it has not ended");

 private:
  const char name_;
  int left_;
  std::string& diary_;
};

class BackgroundWorkTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }
  std::shared_ptr<Diary> Submit(Engine& engine, char name, int pieces) {
    auto work = std::make_shared<Diary>(name, pieces, diary_);
    EXPECT_TRUE(engine.SubmitWork(work).ok());
    return work;
  }
  void Generate(Engine& engine, GenerateResult& result, Priority priority) {
    ASSERT_TRUE(engine
                    .SubmitGenerate({.model = model_},
                                    {.prompt = {1, 2}, .max_new_tokens = 8},
                                    CollectInto(result), priority)
                    .ok());
  }

  std::shared_ptr<const Model> model_;
  std::string diary_;
};

TEST_F(BackgroundWorkTest, WorksTakeTurns) {
  Engine engine({});
  Submit(engine, 'a', 3);
  Submit(engine, 'b', 2);
  RunAll(engine);
  EXPECT_EQ(diary_, "ababa");
  EXPECT_EQ(engine.stats().background_piece_count, 5);
}

TEST_F(BackgroundWorkTest, AnInteractiveRequestWaitsForNoPiece) {
  Engine engine({.background_share = 0.0});
  Submit(engine, 'a', 20);
  engine.Step();
  GenerateResult result;
  Generate(engine, result, Priority::kInteractive);
  const std::string before = diary_;
  while (!result.end.ok()) {
    EXPECT_EQ(diary_, before);
    ASSERT_TRUE(engine.Step());
  }
  RunAll(engine);
  EXPECT_EQ(diary_.size(), 20u);
}

TEST_F(BackgroundWorkTest, AnotherModelsInteractiveRequestComesFirstToo) {
  const auto other = LoadGoldenModel(
      ReadGolden("models/qwen2").directory + "/model", at::kFloat);
  Engine engine({.background_share = 0.0});
  Submit(engine, 'a', 50);
  GenerateResult own;
  GenerateResult job;
  Generate(engine, own, Priority::kInteractive);
  ASSERT_TRUE(engine
                  .SubmitGenerate({.model = other},
                                  {.prompt = {1, 2}, .max_new_tokens = 50},
                                  CollectInto(job), Priority::kJob)
                  .ok());
  while (!own.end.ok()) {
    EXPECT_EQ(diary_, "");
    ASSERT_TRUE(engine.Step());
  }
  EXPECT_FALSE(job.end.ok());
  engine.Step();
  EXPECT_NE(diary_, "");
  RunAll(engine);
}

TEST_F(BackgroundWorkTest, AStreamOfInteractiveRequestsDoesNotStopIt) {
  Engine engine({.background_share = 0.1});
  const auto work = Submit(engine, 'a', 3);
  while (!work->end.ok()) {
    GenerateResult result;
    Generate(engine, result, Priority::kInteractive);
    while (!result.end.ok()) ASSERT_TRUE(engine.Step());
  }
  EXPECT_EQ(diary_, "aaa");
}

TEST_F(BackgroundWorkTest, AlternatesWithJobs) {
  Engine engine({.background_share = 0.0});
  GenerateResult result;
  Generate(engine, result, Priority::kJob);
  Submit(engine, 'a', 100);
  engine.Step();
  EXPECT_EQ(diary_.size(), 1u);
  while (!result.end.ok()) ASSERT_TRUE(engine.Step());
  EXPECT_GT(diary_.size(), 1u);
  EXPECT_LT(diary_.size(), 100u);
}

TEST_F(BackgroundWorkTest, OneThatWaitsIsNoWork) {
  Engine engine({});
  const auto work = Submit(engine, 'a', 1);
  work->is_ready = false;
  EXPECT_FALSE(engine.Step());
  Submit(engine, 'b', 1);
  RunAll(engine);
  EXPECT_EQ(diary_, "b");
  work->is_ready = true;
  RunAll(engine);
  EXPECT_EQ(diary_, "ba");
}

TEST_F(BackgroundWorkTest, OneThatWaitsKeepsNoEngineBusyAndIsWoken) {
  class Waiting final : public EngineWork {
   public:
    bool RunPiece() override { return false; }
    void Finish(const absl::Status&) override { ended.Notify(); }
    bool is_background() const override { return true; }
    bool ready() const override {
      if (!asked.HasBeenNotified()) asked.Notify();
      return may_go_on.HasBeenNotified();
    }
    mutable absl::Notification asked;
    absl::Notification may_go_on;
    absl::Notification ended;
  };
  Engine engine({});
  const auto work = std::make_shared<Waiting>();
  ASSERT_TRUE(engine.SubmitWork(work).ok());
  engine.Start();
  work->asked.WaitForNotification();
  while (engine.stats().busy) std::this_thread::yield();
  work->may_go_on.Notify();
  engine.Wake();
  work->ended.WaitForNotification();
}

TEST_F(BackgroundWorkTest, ACancelledOneEndsWithoutAPieceWhoeverElseComputes) {
  Engine engine({.background_share = 0.0});
  auto work = Submit(engine, 'a', 100);
  engine.Step();
  GenerateResult result;
  Generate(engine, result, Priority::kInteractive);
  const std::weak_ptr<Diary> freed = work;
  work->is_cancelled = true;
  engine.Step();
  EXPECT_EQ(work->end.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(diary_, "a");
  work = nullptr;
  EXPECT_TRUE(freed.expired());
  RunAll(engine);
}

TEST_F(BackgroundWorkTest, DestructionEndsItOnce) {
  std::shared_ptr<Diary> work;
  {
    Engine engine({});
    work = Submit(engine, 'a', 100);
    engine.Step();
  }
  EXPECT_EQ(work->end.code(), absl::StatusCode::kCancelled);
}

TEST_F(BackgroundWorkTest, ChangesNoBitOfWhatIsComputedBesideIt) {
  const GenerateTask task{.prompt = {1, 5, 9}, .max_new_tokens = 12};
  Engine idle({});
  const GenerateResult alone = GenerateNow(idle, {.model = model_}, task);
  Engine engine({.background_share = 0.5});
  Submit(engine, 'a', 100);
  const GenerateResult beside = GenerateNow(engine, {.model = model_}, task);
  EXPECT_EQ(beside.tokens, alone.tokens);
  EXPECT_EQ(beside.logprobs, alone.logprobs);
}

}  // namespace
}  // namespace dissonance
