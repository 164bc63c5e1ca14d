// Draws against the distributions that transformers' logits warpers leave.
#include "src/compute/engine/sampling.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr int kDraws = 20000;

json Cases() {
  std::ifstream file(std::string(DISSONANCE_SOURCE_DIR) +
                     "/tests/compute/engine/sampling_cases.json");
  EXPECT_TRUE(file.good());
  return json::parse(file);
}

TEST(SamplingTest, DrawsFromTransformersDistributions) {
  for (const json& each : Cases()) {
    const json& own = each["options"];
    SamplingOptions options;
    options.temperature = own["temperature"];
    options.top_k = own["top_k"];
    options.top_p = own["top_p"];
    options.min_p = own["min_p"];
    options.repetition_penalty = own["repetition_penalty"];
    const auto expected = each["probabilities"].get<std::vector<double>>();
    const auto tokens = each["tokens"].get<std::vector<int32_t>>();
    const at::Tensor logits =
        at::tensor(each["logits"].get<std::vector<double>>(), at::kDouble);
    std::vector<int> counts(expected.size());
    for (int i = 0; i < kDraws; ++i) {
      options.seed = static_cast<uint64_t>(i);
      ++counts[static_cast<size_t>(
          SampleToken(options, logits, tokens, /*draw=*/i % 7))];
    }
    for (size_t t = 0; t < expected.size(); ++t) {
      if (expected[t] == 0.0) {
        EXPECT_EQ(counts[t], 0) << own << " token " << t;
        continue;
      }
      const double deviation =
          std::sqrt(kDraws * expected[t] * (1 - expected[t]));
      EXPECT_NEAR(counts[t], kDraws * expected[t], 5 * deviation + 1)
          << own << " token " << t;
    }
  }
}

TEST(SamplingTest, ADrawDependsOnSeedAndNumberOnly) {
  const at::Tensor logits = at::full({50}, 1.0, at::kFloat);
  SamplingOptions options;
  options.temperature = 1.0;
  options.seed = 4;
  std::vector<int32_t> once;
  std::vector<int32_t> again;
  for (int64_t draw = 0; draw < 20; ++draw) {
    once.push_back(SampleToken(options, logits, {}, draw));
  }
  for (int64_t draw = 19; draw >= 0; --draw) {
    again.insert(again.begin(), SampleToken(options, logits, {}, draw));
  }
  EXPECT_EQ(once, again);
  options.seed = 5;
  again.clear();
  for (int64_t draw = 0; draw < 20; ++draw) {
    again.push_back(SampleToken(options, logits, {}, draw));
  }
  EXPECT_NE(once, again);
}

TEST(SamplingTest, GreedyTakesTheFirstOfEqualsAfterThePenalty) {
  const at::Tensor logits = at::tensor({1.0, 3.0, 3.0, -1.0}, at::kDouble);
  SamplingOptions options;
  EXPECT_TRUE(options.is_plain_greedy());
  EXPECT_EQ(SampleToken(options, logits, {}, 0), 1);
  options.repetition_penalty = 2.0;
  EXPECT_FALSE(options.is_plain_greedy());
  const std::vector<int32_t> tokens = {1};
  EXPECT_EQ(SampleToken(options, logits, tokens, 0), 2);
}

TEST(SamplingTest, TheMostLikelyTokensComeBestFirst) {
  const auto top =
      TopTokens(at::tensor({-3.0, -1.0, -1.0, -2.0}, at::kDouble), 3);
  const std::vector<std::pair<int32_t, double>> expected = {
      {1, -1.0}, {2, -1.0}, {3, -2.0}};
  EXPECT_EQ(top, expected);
  EXPECT_EQ(TopTokens(at::tensor({0.0, 1.0}, at::kDouble), 5).size(), 2);
}

TEST(SamplingTest, NamesTheOptionThatIsOutOfRange) {
  const auto error = [](auto change) {
    SamplingOptions options;
    change(options);
    return std::string(CheckSampling(options).message());
  };
  EXPECT_TRUE(CheckSampling({}).ok());
  EXPECT_THAT(error([](auto& o) { o.temperature = -1; }),
              HasSubstr("temperature: expected 0 or more, found -1"));
  EXPECT_THAT(error([](auto& o) { o.temperature = std::nan(""); }),
              HasSubstr("temperature"));
  EXPECT_THAT(error([](auto& o) { o.top_k = -2; }), HasSubstr("top_k"));
  EXPECT_THAT(error([](auto& o) { o.top_p = 1.5; }), HasSubstr("top_p"));
  EXPECT_THAT(error([](auto& o) { o.min_p = -0.1; }), HasSubstr("min_p"));
  EXPECT_THAT(error([](auto& o) { o.repetition_penalty = 0; }),
              HasSubstr("repetition_penalty"));
}

}  // namespace
}  // namespace dissonance
