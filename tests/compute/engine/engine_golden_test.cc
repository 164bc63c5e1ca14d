// Scores and greedy generation of every golden model against transformers.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using nlohmann::json;

class EngineGoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("models/" + GetParam());
    model_ = LoadGoldenModel(golden_.directory + "/model", at::kFloat);
    ASSERT_NE(model_, nullptr);
  }

  // Worst difference of token log-probabilities over all continuations, which
  // are scored together, or each alone.
  double WorstLogprob(Engine& engine, bool together) {
    double worst = 0.0;
    for (const json& prompt : golden_.config["prompts"]) {
      ScoreTask task;
      task.prompt = prompt["ids"].get<std::vector<int32_t>>();
      std::vector<at::Tensor> expected;
      const int index = prompt["index"];
      for (size_t c = 0; c < prompt["continuations"].size(); ++c) {
        task.continuations.push_back(prompt["continuations"][c]["ids"]);
        expected.push_back(golden_.Tensor(
            absl::StrCat("prompt", index, ".cont", c, ".logprobs")));
      }
      std::vector<ContinuationResult> results;
      if (together) {
        results = ScoreNow(engine, Base(), task).continuations;
      } else {
        for (const auto& continuation : task.continuations) {
          results.push_back(
              ScoreNow(engine, Base(),
                       {.prompt = task.prompt, .continuations = {continuation}})
                  .continuations.front());
        }
      }
      for (size_t c = 0; c < results.size(); ++c) {
        for (size_t t = 0; t < results[c].token_logprobs.size(); ++t) {
          const double want =
              expected[c][static_cast<int64_t>(t)].item<double>();
          worst =
              std::max(worst, std::abs(results[c].token_logprobs[t] - want));
        }
      }
    }
    return worst;
  }

  EngineVariant Base() const {
    return {.model = model_, .adapter = nullptr, .dropout = {}};
  }
  double HfError(const char* kind) const {
    return golden_.config["hf_fp32_max_abs_err"][kind];
  }

  GoldenCase golden_;
  std::shared_ptr<const Model> model_;
};

TEST_P(EngineGoldenTest, ScoresContinuationsAsTransformersDoes) {
  Engine engine({});
  EXPECT_LE(WorstLogprob(engine, true), 3 * HfError("cont_logprobs"));
  EXPECT_LE(WorstLogprob(engine, false), 3 * HfError("cont_logprobs"));
}

TEST_P(EngineGoldenTest, ScoresTheSameFromPromptsComputedInChunks) {
  Engine engine({.step_tokens = 4, .attention_tile = 4});
  EXPECT_LE(WorstLogprob(engine, true), 3 * HfError("cont_logprobs"));
  EXPECT_LE(WorstLogprob(engine, false), 3 * HfError("cont_logprobs"));
}

TEST_P(EngineGoldenTest, GeneratesTransformersGreedyTokens) {
  for (const int64_t rows : {1024, 8}) {
    Engine engine({.step_tokens = rows, .attention_tile = 4});
    for (const json& prompt : golden_.config["prompts"]) {
      const auto expected = prompt["gen_ids"].get<std::vector<int32_t>>();
      const GenerateResult result =
          GenerateNow(engine, Base(),
                      {.prompt = prompt["ids"].get<std::vector<int32_t>>(),
                       .max_new_tokens = static_cast<int64_t>(expected.size()),
                       .stop_tokens = {}});
      EXPECT_EQ(result.tokens, expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EngineGoldenTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
