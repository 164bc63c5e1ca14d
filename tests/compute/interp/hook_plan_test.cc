// What a plan does to the rows of a site, and to no others.
#include "src/compute/interp/hook_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

using Op = Intervention::Op;

class HookPlanTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }

  std::shared_ptr<const Interventions> Ready(Interventions list) const {
    auto ready = PrepareInterventions(*model_, std::move(list));
    EXPECT_TRUE(ready.ok()) << ready.status();
    return *ready;
  }

  std::shared_ptr<const Model> model_;
};

TEST_F(HookPlanTest, SeveralOnOneRowTakeEffectInTheirOrder) {
  const at::Tensor ones = at::ones({64});
  const auto add_then_scale = Ready({{.op = Op::kAdd, .vector = ones},
                                     {.op = Op::kScale, .coefficient = 3.0}});
  const auto scale_then_add = Ready({{.op = Op::kScale, .coefficient = 3.0},
                                     {.op = Op::kAdd, .vector = ones}});
  const std::vector<int64_t> positions = {0, 1};
  HookPlan plan({{.row_begin = 0,
                  .positions = positions,
                  .prompt_count = 2,
                  .interventions = add_then_scale.get()},
                 {.row_begin = 2,
                  .positions = positions,
                  .prompt_count = 2,
                  .interventions = scale_then_add.get()},
                 {.row_begin = 4, .positions = positions, .prompt_count = 2}},
                {});
  at::Tensor x = at::full({6, 64}, 2.0F);
  plan.Visit(Site::kResidPost, 0, x);
  EXPECT_TRUE(x.narrow(0, 0, 2).equal(at::full({2, 64}, 9.0F)));
  EXPECT_TRUE(x.narrow(0, 2, 2).equal(at::full({2, 64}, 7.0F)));
  EXPECT_TRUE(x.narrow(0, 4, 2).equal(at::full({2, 64}, 2.0F)));
  plan.Visit(Site::kResidPost, 1, x);
  plan.Visit(Site::kResidPre, 0, x);
  EXPECT_TRUE(x.narrow(0, 0, 2).equal(at::full({2, 64}, 9.0F)));
  // Whatever is not waited for need not be computed, changed or not.
  EXPECT_FALSE(plan.NeedsAllRows(0));
}

TEST_F(HookPlanTest, EachRowHasItsOwnVectorHeadAndPosition) {
  const at::Tensor vectors = RandomTensor({2, 16}, at::kFloat, 1);
  const auto first = Ready({{.site = Site::kZ,
                             .head = 1,
                             .positions = Positions::Indices({7, 5}),
                             .op = Op::kSet,
                             .vector = vectors}});
  const auto second = Ready({{.site = Site::kZ,
                              .head = 1,
                              .op = Op::kSet,
                              .vector = at::zeros({16})}});
  const std::vector<int64_t> positions = {5, 6, 7};
  HookPlan plan({{.row_begin = 0,
                  .positions = positions,
                  .prompt_count = 6,
                  .interventions = first.get()},
                 {.row_begin = 3,
                  .positions = positions,
                  .prompt_count = 6,
                  .interventions = second.get()}},
                {});
  const at::Tensor before = RandomTensor({6, 4, 16}, at::kFloat, 2);
  at::Tensor x = before.clone();
  plan.Visit(Site::kZ, 0, x);
  EXPECT_TRUE(x[0][1].equal(vectors[1]));
  EXPECT_TRUE(x[1].equal(before[1]));
  EXPECT_TRUE(x[2][1].equal(vectors[0]));
  EXPECT_TRUE(x[4][1].equal(at::zeros({16})));
  for (const int64_t head : {0, 2, 3}) {
    EXPECT_TRUE(x.select(1, head).equal(before.select(1, head)));
  }
}

TEST_F(HookPlanTest, ProjectingOutLeavesNothingAlongTheDirection) {
  const at::Tensor direction = RandomTensor({64}, at::kFloat, 3) * 7;
  const auto project = Ready({{.op = Op::kProjectOut, .vector = direction}});
  const std::vector<int64_t> positions = {0, 1, 2};
  HookPlan plan({{.row_begin = 0,
                  .positions = positions,
                  .prompt_count = 3,
                  .interventions = project.get()}},
                {});
  at::Tensor x = RandomTensor({3, 64}, at::kFloat, 4);
  plan.Visit(Site::kResidPost, 0, x);
  EXPECT_LE((x.mv(direction)).abs().max().item<double>(), 1e-4);
}

TEST_F(HookPlanTest, TheFinalNormsRowsAreCountedAmongTheWanted) {
  const auto zero =
      Ready({{.site = Site::kFinalNorm,
              .block = -1,
              .positions = Positions::Of(Positions::Kind::kLastPrompt),
              .op = Op::kSet,
              .vector = at::zeros({64})}});
  const std::vector<int64_t> positions = {0, 1, 2};
  HookPlan plan({{.row_begin = 4,
                  .positions = positions,
                  .prompt_count = 3,
                  .interventions = zero.get()}},
                {1, 6});
  at::Tensor x = at::ones({2, 64});
  plan.Visit(Site::kFinalNorm, -1, x);
  EXPECT_TRUE(x[0].equal(at::ones({64})));
  EXPECT_TRUE(x[1].equal(at::zeros({64})));
}

}  // namespace
}  // namespace dissonance
