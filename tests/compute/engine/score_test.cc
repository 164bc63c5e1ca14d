#include "src/compute/engine/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

class ScoreTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kDouble);
    ASSERT_NE(model_, nullptr);
  }
  EngineVariant Base() const {
    return {.model = model_, .adapter = nullptr, .dropout = {}};
  }
  std::vector<int32_t> Tokens(size_t count, uint32_t seed) const {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) {
      token = static_cast<int32_t>(random() % 256);
    }
    return tokens;
  }

  std::shared_ptr<const Model> model_;
  Engine engine_{{}};
};

TEST_F(ScoreTest, SharedBeginningsAreComputedOnce) {
  // Sixteen letter variants: " L" and "L" need no row, "\nL" and "\n L" share
  // the one of "\n".
  ScoreTask task{.prompt = Tokens(40, 1), .continuations = {}};
  for (int32_t letter = 0; letter < 4; ++letter) {
    task.continuations.push_back({50 + letter});
    task.continuations.push_back({60 + letter});
    task.continuations.push_back({10, 50 + letter});
    task.continuations.push_back({10, 60 + letter});
  }
  EXPECT_EQ(ScoreNow(engine_, Base(), task).computed_tokens, 41);
}

TEST_F(ScoreTest, ManyLongContinuationsNeedSeveralTreesAndGiveTheSame) {
  ScoreTask task{.prompt = Tokens(30, 2), .continuations = {}};
  for (uint32_t i = 0; i < 12; ++i) {
    task.continuations.push_back(Tokens(100, 10 + i));
  }
  const ScoreResult together = ScoreNow(engine_, Base(), task);
  for (size_t i = 0; i < task.continuations.size(); ++i) {
    const ScoreResult alone = ScoreNow(
        engine_, Base(),
        {.prompt = task.prompt, .continuations = {task.continuations[i]}});
    EXPECT_NEAR(alone.continuations[0].logprob,
                together.continuations[i].logprob, 1e-9);
  }
}

TEST_F(ScoreTest, GreedyMarksTheMostLikelyContinuation) {
  const std::vector<int32_t> prompt = Tokens(12, 3);
  const GenerateResult greedy =
      GenerateNow(engine_, Base(),
                  {.prompt = prompt, .max_new_tokens = 3, .stop_tokens = {}});
  std::vector<int32_t> other = greedy.tokens;
  other[1] = (other[1] + 1) % 256;
  const ScoreResult result =
      ScoreNow(engine_, Base(),
               {.prompt = prompt, .continuations = {greedy.tokens, other}});
  EXPECT_TRUE(result.continuations[0].is_greedy);
  EXPECT_FALSE(result.continuations[1].is_greedy);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(result.continuations[0].token_logprobs[i], greedy.logprobs[i],
                1e-10);
  }
}

TEST_F(ScoreTest, NamesWhatCannotBeScored) {
  const auto error = [this](ScoreTask task) {
    const auto submitted = engine_.SubmitScore(
        Base(), std::move(task), [](absl::StatusOr<ScoreResult>) { FAIL(); });
    return std::string(submitted.status().message());
  };
  EXPECT_THAT(error({.prompt = {}, .continuations = {{1}}}),
              HasSubstr("the prompt has no tokens"));
  EXPECT_THAT(error({.prompt = {1}, .continuations = {}}),
              HasSubstr("no continuation"));
  EXPECT_THAT(error({.prompt = {1}, .continuations = {{1}, {}}}),
              HasSubstr("continuations[1] has no tokens"));
  EXPECT_THAT(error({.prompt = {1, 256}, .continuations = {{1}}}),
              HasSubstr("token id 256 at index 1"));
  EXPECT_THAT(error({.prompt = {1}, .continuations = {{-1}}}),
              HasSubstr("continuations[0]: token id -1"));
  EXPECT_THAT(error({.prompt = Tokens(510, 4), .continuations = {{1, 2, 3}}}),
              HasSubstr("positions end at 512"));
}

}  // namespace
}  // namespace dissonance
