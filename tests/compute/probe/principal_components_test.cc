#include "src/compute/probe/principal_components.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

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

// Large enough to be iterated; the rows' first half alone is not.
TEST(PrincipalComponents, AreEigenvectorsOfTheCovarianceOfManyRows) {
  at::Tensor rows = MakeRows(400, 300, 0.0, 3).rows.to(at::kDouble);
  for (int64_t j = 0; j < 300; ++j) {
    rows.select(1, j).mul_(1.0 / std::sqrt(1.0 + static_cast<double>(j)));
  }
  const PrincipalComponents found = FindPrincipalComponents(rows, 5);
  const at::Tensor centered = rows - rows.mean(at::IntArrayRef{0});
  const at::Tensor covariance = centered.t().mm(centered) / 399.0;
  for (int64_t i = 0; i < 5; ++i) {
    const at::Tensor& own = found.components[i];
    const double variance = found.variances[static_cast<size_t>(i)];
    EXPECT_LE(MaxAbsDifference(covariance.mv(own), own * variance),
              1e-8 * found.variances[0]);
    EXPECT_NEAR(own.norm().item<double>(), 1.0, 1e-12);
  }
  const at::Tensor all =
      std::get<0>(at::linalg_eigh(covariance)).flip(0).slice(0, 0, 5);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(found.variances[i], all[static_cast<int64_t>(i)].item<double>(),
                1e-10);
  }
}

}  // namespace
}  // namespace dissonance
