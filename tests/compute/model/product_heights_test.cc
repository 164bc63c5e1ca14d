#include "src/compute/model/product_heights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

at::Tensor InProductsOf(int64_t height, const at::Tensor& x,
                        const at::Tensor& weight) {
  at::Tensor out = at::empty({x.size(0), weight.size(0)}, x.options());
  for (int64_t row = 0; row < x.size(0); row += height) {
    LinearInto(out.narrow(0, row, height), x.narrow(0, row, height), weight,
               std::nullopt);
  }
  return out;
}

using Case = std::tuple<at::ScalarType, std::pair<int64_t, int64_t>>;

class ProductHeightsTest : public testing::TestWithParam<Case> {
 protected:
  at::ScalarType dtype() const { return std::get<0>(GetParam()); }
  int64_t in() const { return std::get<1>(GetParam()).first; }
  int64_t out() const { return std::get<1>(GetParam()).second; }
};

// What was measured on one set of numbers holds for others: where heights are
// said to agree they do, and where they are said not to, some row differs.
TEST_P(ProductHeightsTest, TheVerdictHoldsForOtherNumbers) {
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 1);
  for (const int64_t height : {16, 32, 64, 256, 512, 1024}) {
    const at::Tensor x = RandomTensor({1024, in()}, dtype(), 2);
    const bool same =
        InProductsOf(128, x, weight).equal(InProductsOf(height, x, weight));
    if (SameRowBits(weight, false, 128, height)) {
      EXPECT_TRUE(same) << height;
    } else if (dtype() != at::kBFloat16) {
      // Rounding to bfloat16 may hide the difference of other numbers.
      EXPECT_FALSE(same) << height;
    }
  }
}

TEST_P(ProductHeightsTest, TheNextHeightAgreesAndFits) {
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 1);
  for (const int64_t reference : {16, 128}) {
    for (int64_t left = 1; left < 2100; left += 37) {
      const int64_t height = NextHeight(weight, false, reference, left);
      EXPECT_TRUE(SameRowBits(weight, false, reference, height)) << left;
      if (left >= reference) {
        EXPECT_GE(height, reference) << left;
        EXPECT_LE(height, left + left / 8) << left;
      } else {
        EXPECT_GE(height, left);
        EXPECT_LE(height, reference) << left;
      }
    }
  }
}

// Whichever library computes it: each term is rounded at most as often as it is
// added, and a bfloat16 sum once more.
TEST_P(ProductHeightsTest, ProductsAreRight) {
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 1);
  const at::Tensor x = RandomTensor({128, in()}, dtype(), 2);
  const double unit = dtype() == at::kBFloat16 ? 0x1p-8 : 0x1p-24;
  for (const bool has_bias : {false, true}) {
    std::optional<at::Tensor> bias;
    if (has_bias) bias = RandomTensor({out()}, dtype(), 3);
    at::Tensor product = at::empty({128, out()}, x.options());
    product.fill_(std::numeric_limits<double>::quiet_NaN());
    LinearInto(product, x, weight, bias);
    const at::Tensor wide = x.to(at::kDouble);
    at::Tensor exact = at::matmul(wide, weight.to(at::kDouble).t());
    if (has_bias) exact += bias->to(at::kDouble);
    EXPECT_LE((product.to(at::kDouble) - exact).abs().max().item<double>(),
              2 * unit * exact.abs().max().item<double>() *
                  std::sqrt(static_cast<double>(in())))
        << has_bias;
  }
}

INSTANTIATE_TEST_SUITE_P(
    TypesAndShapes, ProductHeightsTest,
    testing::Combine(testing::Values(at::kFloat, at::kDouble, at::kBFloat16),
                     testing::Values(std::pair<int64_t, int64_t>{64, 112},
                                     std::pair<int64_t, int64_t>{2048, 768},
                                     std::pair<int64_t, int64_t>{100, 36},
                                     std::pair<int64_t, int64_t>{7, 64})));

TEST(ProductHeightsLimitTest, HugeWeightsKeepTheirReference) {
  // Never touched, so it takes no memory.
  const at::Tensor weight = at::empty({1 << 15, (1 << 13) + 1}, at::kByte);
  EXPECT_FALSE(SameRowBits(weight, false, 128, 256));
  EXPECT_TRUE(SameRowBits(weight, false, 128, 128));
  EXPECT_EQ(NextHeight(weight, false, 128, 2000), 128);
}

}  // namespace
}  // namespace dissonance
