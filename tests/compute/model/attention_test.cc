// Trees of continuations against the same tokens one after another.
#include "src/compute/model/attention.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

class TreeTest : public testing::TestWithParam<std::string> {};

// prompt + a tree of "a b", "a c" and "d": each branch's logits equal those of
// the branch written out as a sequence of its own.
TEST_P(TreeTest, BranchesEqualSequencesOfTheirOwn) {
  const GoldenCase golden = ReadGolden("models/" + GetParam());
  const auto model = LoadGoldenModel(golden.directory + "/model", at::kDouble);
  ASSERT_NE(model, nullptr);
  const auto prompt =
      golden.config["prompts"].back()["ids"].get<std::vector<int32_t>>();
  const auto n = static_cast<int64_t>(prompt.size());
  TokenBatch batch;
  batch.token_ids.assign(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < n; ++i) batch.positions.push_back(i);
  const std::vector<int32_t> tree = {11, 12, 13, 14};
  const std::vector<int32_t> parents = {-1, 0, 0, -1};
  batch.token_ids.insert(batch.token_ids.end(), tree.begin(), tree.end());
  batch.positions.insert(batch.positions.end(), {n, n + 1, n + 1, n});
  batch.prefill_rows = batch.row_count();
  Segment& segment = batch.segments.emplace_back();
  segment.linear_count = n;
  segment.tree_parents = parents;
  const at::Tensor logits = model->decoder().Unembed(
      model->decoder().Forward(batch, {n, n + 1, n + 2, n + 3}), {});

  const std::vector<std::vector<int32_t>> branches = {
      {11}, {11, 12}, {11, 13}, {14}};
  for (size_t i = 0; i < branches.size(); ++i) {
    std::vector<int32_t> alone = prompt;
    alone.insert(alone.end(), branches[i].begin(), branches[i].end());
    const at::Tensor expected = LogitsOf(*model, alone);
    EXPECT_LE(MaxAbsDifference(logits[static_cast<int64_t>(i)], expected[-1]),
              1e-11)
        << "branch " << i;
  }
}

// With a window shorter than the prompt (mistral) and without (llama).
INSTANTIATE_TEST_SUITE_P(Windows, TreeTest,
                         testing::Values("llama", "mistral", "qwen3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
