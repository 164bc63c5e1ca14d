// Derivatives by activations, of every family, against the engine's decoder
// with those activations changed a little, in float64.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/compute/lora/batch_delta.h"
#include "src/compute/train/training_network.h"
#include "tests/compute/train/training_fixture.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

// Adds to what is at a place, and keeps what was there.
class Nudge final : public SiteVisitor {
 public:
  Nudge(SitePlace place, at::Tensor change)
      : place_(place), change_(std::move(change)) {}
  bool NeedsAllRows(int64_t) const override { return true; }
  void Visit(Site site, int64_t block, at::Tensor& x) override {
    if (site != place_.site || block != place_.block) return;
    before = x.clone();
    x.add_(change_.view_as(x));
  }
  at::Tensor before;

 private:
  const SitePlace place_;
  const at::Tensor change_;
};

class DeltaGradientsTest : public testing::TestWithParam<std::string> {};

TEST_P(DeltaGradientsTest, AreTheSlopesOfTheLogitDifference) {
  const auto model = GoldenModel(GetParam(), at::kDouble);
  const LoraParameters lora = RandomLora(*model);
  const auto adapter = LoraAdapter::Make(lora, *model);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const std::vector<int32_t> tokens =
      RandomDocuments(*model, {11}, 3)[0].tokens;
  std::vector<SitePlace> places;
  for (const Site site :
       {Site::kResidPre, Site::kQ, Site::kK, Site::kV, Site::kZ, Site::kAttnOut,
        Site::kResidMid, Site::kMlpHidden, Site::kMlpOut, Site::kResidPost}) {
    for (const int64_t block : {int64_t{0}, model->spec().block_count() - 1}) {
      if (CheckSite(model->spec(), site, block).ok()) {
        places.push_back({site, block});
      }
    }
  }
  TrainingNetwork network(*model, adapter->get());
  auto found = network.GradientsOf(tokens, {5, 9}, places);
  ASSERT_TRUE(found.ok()) << found.status();

  AdapterRun run;
  run.row_count = static_cast<int64_t>(tokens.size());
  run.adapter = *adapter;
  const BatchDelta delta({run}, /*reproducible=*/true);
  const auto difference = [&](Nudge& nudge) {
    const at::Tensor logits =
        LogitsOf(*model, tokens, {.delta = &delta, .visitor = &nudge});
    return (logits[-1][5] - logits[-1][9]).item<double>();
  };
  for (size_t i = 0; i < places.size(); ++i) {
    const at::Tensor& gradient = found->gradients[i];
    const at::Tensor direction =
        RandomTensor(gradient.sizes().vec(), at::kDouble, 7 + i)
            .to(gradient.device());
    constexpr double kStep = 1e-6;
    Nudge above(places[i], direction * kStep);
    Nudge below(places[i], direction * -kStep);
    const double slope = (difference(above) - difference(below)) / (2 * kStep);
    EXPECT_NEAR((gradient * direction).sum().item<double>(), slope,
                1e-5 * std::abs(slope) + 1e-6)
        << SiteName(places[i].site) << " of block " << places[i].block;
    EXPECT_LE(MaxAbsDifference(found->values[i], above.before), 1e-9);
  }
  Nudge nothing({Site::kResidPost, -2}, {});
  EXPECT_NEAR(found->delta, difference(nothing), 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Families, DeltaGradientsTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& parameter) { return parameter.param; });

TEST(DeltaGradientsOfTheBaseTest, KnowTheLastRowOfTheFinalNormAlone) {
  const auto model = GoldenModel("llama", at::kDouble);
  TrainingNetwork network(*model, nullptr);
  auto found = network.GradientsOf({1, 2, 3}, {5, 9}, {{Site::kFinalNorm, -1}});
  ASSERT_TRUE(found.ok()) << found.status();
  const at::Tensor& unembed = model->weights().unembed;
  EXPECT_LE(MaxAbsDifference(found->gradients[0][2], unembed[5] - unembed[9]),
            1e-12);
  EXPECT_EQ(found->gradients[0].slice(0, 0, 2).abs().max().item<double>(), 0);
}

TEST(DeltaGradientsOfTheBaseTest, RefuseWhatCanOnlyBeLookedAt) {
  const auto model = GoldenModel("llama", at::kDouble);
  TrainingNetwork network(*model, nullptr);
  EXPECT_THAT(
      std::string(network.GradientsOf({1, 2}, {5, 9}, {{Site::kPattern, 0}})
                      .status()
                      .message()),
      testing::HasSubstr("pattern"));
}

}  // namespace
}  // namespace dissonance
