#include "src/compute/probe/principal_components.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

class PcaGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(PcaGoldenTest, EqualsScikitLearnsToTheSignConvention) {
  const ProbeGolden golden = ReadProbeGolden(GetParam());
  for (const int64_t count : {2, 5}) {
    const std::string prefix = "pca" + std::to_string(count) + ".";
    const PrincipalComponents found =
        FindPrincipalComponents(golden.Tensor("X"), count);
    EXPECT_LE(MaxAbsDifference(found.mean, golden.Tensor("pca.mean")), 1e-5);
    EXPECT_LE(MaxAbsDifference(found.components,
                               golden.Tensor(prefix + "components")),
              1e-5);
    EXPECT_LE(MaxAbsDifference(found.projections,
                               golden.Tensor(prefix + "projection")),
              1e-4);
    const at::Tensor variances =
        golden.Tensor(prefix + "explained_variance").to(at::kDouble);
    const at::Tensor shares =
        golden.Tensor(prefix + "explained_variance_ratio").to(at::kDouble);
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_NEAR(found.variances[at] / variances[i].item<double>(), 1.0, 1e-6);
      EXPECT_NEAR(found.variance_shares[at] / shares[i].item<double>(), 1.0,
                  1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, PcaGoldenTest,
                         testing::Values("balanced", "constant_columns",
                                         "grouped", "imbalanced_15_85",
                                         "n_lt_d", "separable"));

TEST(PrincipalComponents, GivesNoMoreThanTheRowsSpan) {
  const at::Tensor row = at::tensor(std::vector<float>{1, 2, 3});
  const PrincipalComponents found =
      FindPrincipalComponents(at::stack({row, 2 * row, 4 * row}), 3);
  EXPECT_EQ(found.components.size(0), 1);
  EXPECT_NEAR(found.variance_shares[0], 1.0, 1e-12);
  EXPECT_EQ(FindPrincipalComponents(at::stack({row, row}), 2).variances.size(),
            0);
}

}  // namespace
}  // namespace dissonance
