#include "src/compute/model/row_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

using Case = std::tuple<at::ScalarType, std::pair<int64_t, int64_t>>;

class RowOpsTest : public testing::TestWithParam<Case> {
 protected:
  at::ScalarType dtype() const { return std::get<0>(GetParam()); }
  int64_t in() const { return std::get<1>(GetParam()).first; }
  int64_t out() const { return std::get<1>(GetParam()).second; }
};

// The promise on which reproducible mode stands, on shapes where the
// library's plain product is known to break it.
TEST_P(RowOpsTest, ARowDependsNeitherOnItsPlaceNorOnTheOthers) {
  const at::Tensor x = RandomTensor({1300, in()}, dtype(), 1);
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 2);
  const at::Tensor all = RowLinear(x, weight, std::nullopt, {.prefill = 1300});
  for (const auto& [begin, count] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 1},
                                                {7, 1},
                                                {127, 2},
                                                {5, 128},
                                                {100, 200},
                                                {300, 700},
                                                {1299, 1}}) {
    const at::Tensor part = RowLinear(x.narrow(0, begin, count), weight,
                                      std::nullopt, {.prefill = count});
    EXPECT_TRUE(part.equal(all.narrow(0, begin, count)))
        << begin << " " << count;
  }
}

TEST_P(RowOpsTest, DecodeRowsDoNotDependOnThePromptRowsBeforeThem) {
  const at::Tensor x = RandomTensor({150, in()}, dtype(), 3);
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 4);
  const at::Tensor mixed = RowLinear(x, weight, std::nullopt, {.prefill = 130});
  const at::Tensor alone =
      RowLinear(x.narrow(0, 141, 1), weight, std::nullopt, {.prefill = 0});
  EXPECT_TRUE(alone.equal(mixed.narrow(0, 141, 1)));
}

TEST_P(RowOpsTest, TiledProductsEqualPlainOnesWithinRounding) {
  const at::Tensor x = RandomTensor({140, in()}, dtype(), 5);
  const at::Tensor weight = RandomTensor({out(), in()}, dtype(), 6);
  const at::Tensor bias = RandomTensor({out()}, dtype(), 7);
  const at::Tensor tiled = RowLinear(x, weight, bias, {.prefill = 140});
  const at::Tensor plain = at::linear(x, weight, bias);
  const double scale = plain.to(at::kDouble).abs().max().item<double>();
  const double tolerance = dtype() == at::kBFloat16 ? 1e-2 : 1e-5;
  EXPECT_LE((tiled.to(at::kDouble) - plain.to(at::kDouble))
                .abs()
                .max()
                .item<double>(),
            tolerance * scale);
}

TEST_P(RowOpsTest, NormAndGateDependOnTheirRowOnly) {
  const at::Tensor x = RandomTensor({67, 2 * in()}, dtype(), 8);
  const at::Tensor weight = RandomTensor({2 * in()}, dtype(), 9);
  const at::Tensor normed = RmsNorm(x, weight, 1e-5);
  const at::Tensor gated = GatedActivation(x, Activation::kSilu);
  for (const int64_t row : {0, 13, 66}) {
    const at::Tensor own = x.narrow(0, row, 1).clone();
    EXPECT_TRUE(RmsNorm(own, weight, 1e-5).equal(normed.narrow(0, row, 1)));
    EXPECT_TRUE(
        GatedActivation(own, Activation::kSilu).equal(gated.narrow(0, row, 1)));
  }
}

TEST_P(RowOpsTest, ActivationsDependOnTheirRowOnly) {
  // Odd, and wide enough for several pieces.
  const at::Tensor x = RandomTensor({9, 34001}, dtype(), 12);
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    const at::Tensor all = Activate(x, activation);
    at::Tensor capped = x.clone();
    SoftcapRows(capped, 2.0);
    for (const int64_t row : {0, 4, 8}) {
      at::Tensor own = x.narrow(0, row, 1).clone();
      EXPECT_TRUE(Activate(own, activation).equal(all.narrow(0, row, 1)));
      SoftcapRows(own, 2.0);
      EXPECT_TRUE(own.equal(capped.narrow(0, row, 1)));
    }
  }
}

TEST_P(RowOpsTest, AWiderWeightMultipliesBeforeTheRounding) {
  const at::Tensor x = RandomTensor({3, in()}, dtype(), 13);
  const at::ScalarType wide = dtype() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor weight = RandomTensor({in()}, wide, 14);
  const at::Tensor xw = x.to(at::kDouble);
  const at::Tensor expected =
      (xw * at::rsqrt((xw * xw).mean(-1, true) + 1e-5) * weight).to(dtype());
  const at::Tensor own = RmsNorm(x, weight, 1e-5);
  EXPECT_EQ(own.scalar_type(), dtype());
  const double tolerance = dtype() == at::kBFloat16 ? 4e-3 : 2e-6;
  EXPECT_TRUE(own.allclose(expected, tolerance, tolerance));
}

TEST_P(RowOpsTest, GateIsSiluTimesUp) {
  const at::Tensor x = RandomTensor({20, 2 * in()}, dtype(), 10);
  const at::Tensor expected =
      at::silu(x.narrow(1, 0, in())) * x.narrow(1, in(), in());
  const double tolerance = dtype() == at::kDouble     ? 1e-14
                           : dtype() == at::kBFloat16 ? 1e-2
                                                      : 2e-6;
  EXPECT_TRUE(GatedActivation(x, Activation::kSilu)
                  .allclose(expected, tolerance, tolerance));
}

INSTANTIATE_TEST_SUITE_P(
    TypesAndShapes, RowOpsTest,
    testing::Combine(testing::Values(at::kFloat, at::kDouble, at::kBFloat16),
                     testing::Values(std::pair<int64_t, int64_t>{64, 112},
                                     std::pair<int64_t, int64_t>{128, 384},
                                     std::pair<int64_t, int64_t>{384, 128},
                                     std::pair<int64_t, int64_t>{2048, 768},
                                     std::pair<int64_t, int64_t>{100, 36},
                                     std::pair<int64_t, int64_t>{8, 64},
                                     std::pair<int64_t, int64_t>{64, 8})));

TEST(SwiGluTest, CarriesNanAndInfinityOn) {
  at::Tensor x = RandomTensor({1, 64}, at::kFloat, 11);
  x[0][3] = std::numeric_limits<float>::quiet_NaN();
  x[0][40] = std::numeric_limits<float>::infinity();
  const at::Tensor y = GatedActivation(x, Activation::kSilu);
  EXPECT_TRUE(std::isnan(y[0][3].item<float>()));
  EXPECT_TRUE(std::isinf(y[0][8].item<float>()));
}

}  // namespace
}  // namespace dissonance
