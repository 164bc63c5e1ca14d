// The backward pass of every family, against the loss itself in float64, and
// against the inference engine's own numbers.
#include "src/compute/train/training_network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/compute/lora/batch_delta.h"
#include "tests/compute/train/training_fixture.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

class FamilyTrainingTest : public testing::TestWithParam<std::string> {
 protected:
  // Lengths around the window of the families that have one; two are equal.
  static std::vector<TrainingDocument> Documents(const Model& model) {
    return RandomDocuments(model, {5, 9, 9, 40}, 3);
  }
};

// Along random directions the loss changes as its gradient says.
TEST_P(FamilyTrainingTest, GradientIsTheLosssSlope) {
  const auto model = GoldenModel(GetParam(), at::kDouble);
  LoraParameters lora = RandomLora(*model);
  const std::vector<TrainingDocument> documents = Documents(*model);
  const TrainingPack pack = PackOf(documents);
  TrainingNetwork network(*model, lora, {});
  const double loss = network.Accumulate(pack, 1.0);
  EXPECT_NEAR(network.Loss(pack), loss, 1e-10 * loss);
  at::Tensor flat = lora.flat();
  for (const uint64_t seed : {1, 2}) {
    const at::Tensor direction =
        RandomTensor({flat.size(0)}, at::kDouble, seed).to(flat.device());
    const double slope = (network.grad() * direction).sum().item<double>();
    constexpr double kStep = 1e-6;
    flat.add_(direction, kStep);
    const double above = network.Loss(pack);
    flat.add_(direction, -2 * kStep);
    const double below = network.Loss(pack);
    flat.add_(direction, kStep);
    EXPECT_NEAR(slope, (above - below) / (2 * kStep),
                2e-6 * std::abs(slope) + 1e-5);
  }
}

// The same documents through the engine's decoder, with the adapter as the
// bank holds it.
TEST_P(FamilyTrainingTest, LossIsTheEnginesOwn) {
  const auto model = GoldenModel(GetParam(), at::kDouble);
  const LoraParameters lora = RandomLora(*model);
  const auto adapter = LoraAdapter::Make(lora, *model);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const std::vector<TrainingDocument> documents = Documents(*model);
  double expected = 0.0;
  for (const TrainingDocument& document : documents) {
    AdapterRun run;
    run.row_count = static_cast<int64_t>(document.tokens.size());
    run.adapter = *adapter;
    const BatchDelta delta({run}, /*reproducible=*/true);
    const at::Tensor logprobs = at::log_softmax(
        LogitsOf(*model, document.tokens, {.delta = &delta}), -1);
    for (size_t i = 1; i < document.tokens.size(); ++i) {
      expected -= logprobs[static_cast<int64_t>(i) - 1][document.tokens[i]]
                      .item<double>();
    }
  }
  TrainingNetwork network(*model, lora, {});
  EXPECT_NEAR(network.Loss(PackOf(documents)), expected, 1e-9 * expected);
}

TEST_P(FamilyTrainingTest, DocumentsDoNotSeeOneAnother) {
  const auto model = GoldenModel(GetParam(), at::kDouble);
  const LoraParameters lora = RandomLora(*model);
  const std::vector<TrainingDocument> documents = Documents(*model);
  TrainingNetwork together(*model, lora, {});
  TrainingNetwork alone(*model, lora, {});
  const double loss = together.Accumulate(PackOf(documents), 0.5);
  double sum = 0.0;
  for (const TrainingDocument& document : documents) {
    sum += alone.Accumulate(PackOf({document}), 0.5);
  }
  EXPECT_NEAR(loss, sum, 1e-11 * loss);
  EXPECT_LE(MaxAbsDifference(together.grad(), alone.grad()), 1e-10);
}

TEST_P(FamilyTrainingTest, CheckpointingChangesNoBit) {
  const auto model = GoldenModel(GetParam(), at::kFloat);
  const LoraParameters lora = RandomLora(*model, 0.2);
  const std::vector<TrainingDocument> documents = Documents(*model);
  TrainingNetwork keeping(*model, lora, {.dropout = 0.2});
  TrainingNetwork again(*model, lora,
                        {.dropout = 0.2, .activation_checkpointing = true});
  EXPECT_EQ(keeping.Accumulate(PackOf(documents), 1.0),
            again.Accumulate(PackOf(documents), 1.0));
  EXPECT_TRUE(keeping.grad().equal(again.grad()));
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyTrainingTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& parameter) { return parameter.param; });

TEST(TrainingNetworkTest, DropsTheSameNumbersInBothPasses) {
  const auto model = GoldenModel("llama", at::kDouble);
  LoraParameters lora = RandomLora(*model, 0.3);
  const std::vector<TrainingDocument> documents =
      RandomDocuments(*model, {6, 11}, 3);
  const TrainingPack pack = PackOf(documents);
  TrainingNetwork network(*model, lora, {.dropout = 0.3});
  const double dropped = network.Accumulate(pack, 1.0);
  EXPECT_NE(dropped, network.Loss(pack));
  const at::Tensor grad = network.grad().clone();
  at::Tensor flat = lora.flat();
  const at::Tensor direction =
      RandomTensor({flat.size(0)}, at::kDouble, 1).to(flat.device());
  constexpr double kStep = 1e-6;
  flat.add_(direction, kStep);
  const double above = network.Accumulate(pack, 1.0);
  flat.add_(direction, -2 * kStep);
  const double below = network.Accumulate(pack, 1.0);
  const double slope = (grad * direction).sum().item<double>();
  EXPECT_NEAR(slope, (above - below) / (2 * kStep), 2e-6 * std::abs(slope));
}

TEST(TrainingNetworkTest, OnlyTargetsCount) {
  const auto model = GoldenModel("llama", at::kDouble);
  const LoraParameters lora = RandomLora(*model);
  std::vector<TrainingDocument> documents = RandomDocuments(*model, {12}, 3);
  TrainingNetwork network(*model, lora, {});
  const double whole = network.Loss(PackOf(documents));
  std::vector<TrainingDocument> first = documents;
  std::vector<TrainingDocument> second = documents;
  for (size_t i = 0; i < 12; ++i) {
    first[0].is_target.push_back(i > 0 && i < 5);
    second[0].is_target.push_back(i >= 5);
  }
  EXPECT_EQ(first[0].target_count(), 4);
  EXPECT_EQ(second[0].target_count(), 7);
  EXPECT_NEAR(network.Loss(PackOf(first)) + network.Loss(PackOf(second)), whole,
              1e-11 * whole);
}

// Blocks below the first adapted one run without a graph.
TEST(TrainingNetworkTest, AdaptsSomeBlocksOnly) {
  const auto model = GoldenModel("llama", at::kDouble);
  PeftConfig config;
  config.target_modules = {"down_proj"};
  config.layers = {2};
  config.rank = 2;
  absl::StatusOr<LoraParameters> lora = LoraParameters::Init(config, *model, 5);
  ASSERT_TRUE(lora.ok()) << lora.status();
  at::Tensor flat = lora->flat();
  flat.copy_(RandomTensor({flat.size(0)}, at::kDouble, 1).mul_(0.1));
  const std::vector<TrainingDocument> documents =
      RandomDocuments(*model, {12}, 3);
  const TrainingPack pack = PackOf(documents);
  TrainingNetwork network(*model, *lora, {});
  network.Accumulate(pack, 1.0);
  const at::Tensor direction =
      RandomTensor({flat.size(0)}, at::kDouble, 2).to(flat.device());
  const double slope = (network.grad() * direction).sum().item<double>();
  flat.add_(direction, 1e-6);
  const double above = network.Loss(pack);
  flat.add_(direction, -2e-6);
  EXPECT_NEAR(slope, (above - network.Loss(pack)) / 2e-6,
              2e-6 * std::abs(slope) + 1e-6);
}

}  // namespace
}  // namespace dissonance
