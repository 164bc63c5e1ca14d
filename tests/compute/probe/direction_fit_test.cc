#include "src/compute/probe/direction_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

at::Tensor Rows(const std::vector<float>& values, int64_t width) {
  return at::tensor(values).view({-1, width});
}

TEST(MeanDifference, EqualsTheGoldens) {
  for (const char* set : {"balanced", "grouped", "imbalanced_15_85"}) {
    const ProbeGolden golden = ReadProbeGolden(set);
    auto direction = MeanDifference(golden.Tensor("X"), golden.Classes("true"));
    ASSERT_TRUE(direction.ok()) << direction.status();
    EXPECT_LE(MaxAbsDifference(direction->unit, golden.Tensor("dom.unit")),
              1e-6);
    EXPECT_NEAR(direction->norm,
                golden.Tensor("dom.direction").norm().item<double>(), 1e-5);
  }
}

TEST(MeanDifference, LeavesUnlabelledRowsOut) {
  auto direction = MeanDifference(Rows({0, 0, 3, 4, 100, -100}, 2), {0, 1, -1});
  ASSERT_TRUE(direction.ok());
  EXPECT_NEAR(direction->norm, 5.0, 1e-12);
  EXPECT_NEAR(direction->residual_norm, 2.5, 1e-12);
  EXPECT_NEAR(direction->unit[1].item<double>(), 0.8, 1e-12);
}

TEST(MeanDifference, RefusesOneClassAndEqualMeans) {
  EXPECT_THAT(MeanDifference(Rows({0, 0, 3, 4}, 2), {1, 1}).status().message(),
              HasSubstr("of class 0"));
  EXPECT_THAT(MeanDifference(Rows({3, 4, 3, 4}, 2), {0, 1}).status().message(),
              HasSubstr("no direction"));
}

TEST(ContrastPca, FindsWhatPairsDifferIn) {
  // Pairs are far apart from one another, and differ along the second axis.
  const at::Tensor rows =
      Rows({0, 0, 0, 2, 50, 7, 50.5, 9.5, -80, 3, -80, 4.5}, 2);
  auto direction =
      ContrastPca(rows, {0, 1, 0, 1, 0, 1}, {"a", "a", "b", "b", "c", "c"});
  ASSERT_TRUE(direction.ok()) << direction.status();
  EXPECT_GT(direction->unit[1].item<double>(), 0.97);
  EXPECT_NEAR(direction->norm, 2.0, 0.1);
}

TEST(ContrastPca, PointsToClassOneInEitherOrder) {
  const at::Tensor rows = Rows({0, 0, 0, 2, 5, 7, 5, 9}, 2);
  const std::vector<std::string> groups = {"a", "a", "b", "b"};
  EXPECT_GT(ContrastPca(rows, {0, 1, 0, 1}, groups)->unit[1].item<double>(),
            0.9);
  EXPECT_LT(ContrastPca(rows, {1, 0, 1, 0}, groups)->unit[1].item<double>(),
            -0.9);
}

TEST(ContrastPca, NeedsTwoPairs) {
  EXPECT_THAT(
      ContrastPca(Rows({0, 0, 0, 2, 5, 7}, 2), {0, 1, 1}, {"a", "a", "b"})
          .status()
          .message(),
      HasSubstr("found 1 group(s)"));
}

TEST(VariantDifference, IsTheDifferenceOfMeansOverTheChosenRows) {
  const at::Tensor base = Rows({1, 0, 9, 9}, 2);
  const at::Tensor tuned = Rows({0, 0, 0, 0}, 2);
  EXPECT_NEAR(VariantDifference(base, tuned, {1, -1})->unit[0].item<double>(),
              1.0, 1e-12);
  EXPECT_NEAR(VariantDifference(base, tuned, {})->norm, std::hypot(5.0, 4.5),
              1e-12);
  EXPECT_FALSE(VariantDifference(base, base, {}).ok());
}

}  // namespace
}  // namespace dissonance
