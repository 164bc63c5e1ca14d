#include "src/compute/train/dropout_mask.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "src/base/mix.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

// Keys of a document's rows, one position after another.
std::vector<uint64_t> Keys(int64_t rows, uint64_t document = 1) {
  std::vector<uint64_t> keys;
  for (int64_t row = 0; row < rows; ++row) {
    keys.push_back(Mix(Mix(document) + static_cast<uint64_t>(row)));
  }
  return keys;
}

// 1 where a number stays, else 0: [rows, width], float64.
at::Tensor Mask(int64_t rows, int64_t width, double rate, uint64_t module = 0,
                uint64_t document = 1) {
  const at::Tensor x = at::ones({rows, width}, at::kFloat);
  return DropoutRows(x, Keys(rows, document), module, rate)
      .ne(0.0)
      .to(at::kDouble);
}

// Sampling error of a mean of `count` zeros and ones that are 1 with
// probability 1 - rate.
double Sigma(double rate, int64_t count) {
  return std::sqrt(rate * (1.0 - rate) / static_cast<double>(count));
}

TEST(DropoutMaskTest, DropsNumbersAtTheRateAndScalesTheRest) {
  const at::Tensor x = at::full({512, 1024}, 3.0, at::kDouble);
  for (const double rate : {0.001, 0.05, 0.5, 0.9}) {
    const at::Tensor out = DropoutRows(x, Keys(512), 4, rate);
    const at::Tensor kept = out.ne(0.0);
    EXPECT_TRUE(at::equal(out, kept.to(at::kDouble) * 3.0 * (1 / (1 - rate))));
    EXPECT_NEAR(kept.to(at::kDouble).mean().item<double>(), 1.0 - rate,
                4.0 * Sigma(rate, x.numel()));
  }
  EXPECT_TRUE(at::equal(DropoutRows(x, Keys(512), 4, 0.0), x));
}

TEST(DropoutMaskTest, EveryRowAndEveryColumnHasTheRate) {
  constexpr int64_t kSide = 1024;
  const at::Tensor mask = Mask(kSide, kSide, 0.3);
  for (const int64_t axis : {0, 1}) {
    const at::Tensor means = mask.mean(at::IntArrayRef(axis), false);
    const double sigma = Sigma(0.3, kSide);
    EXPECT_LT(means.sub(0.7).abs().max().item<double>(), 5.0 * sigma);
    // As far apart as independent draws are.
    EXPECT_NEAR(means.std().item<double>(), sigma, 0.1 * sigma);
  }
}

// Correlation of two masks of equal shape.
double Correlation(const at::Tensor& a, const at::Tensor& b, double rate) {
  return a.sub(1.0 - rate).mul(b.sub(1.0 - rate)).mean().item<double>() /
         (rate * (1.0 - rate));
}

TEST(DropoutMaskTest, NeighboursAreIndependent) {
  constexpr int64_t kRows = 1024;
  constexpr int64_t kWidth = 1024;
  for (const double rate : {0.05, 0.5}) {
    const at::Tensor mask = Mask(kRows, kWidth, rate);
    const double bound = 5.0 / std::sqrt(static_cast<double>(mask.numel()));
    for (const int64_t shift : {1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512}) {
      SCOPED_TRACE(shift);
      for (const int64_t axis : {0, 1}) {
        const int64_t left = kRows - shift;
        EXPECT_LT(std::abs(Correlation(mask.narrow(axis, 0, left),
                                       mask.narrow(axis, shift, left), rate)),
                  bound * std::sqrt(static_cast<double>(kRows) /
                                    static_cast<double>(left)));
      }
      const auto other = static_cast<uint64_t>(shift);
      EXPECT_LT(
          std::abs(Correlation(mask, Mask(kRows, kWidth, rate, other), rate)),
          bound);
      EXPECT_LT(std::abs(Correlation(
                    mask, Mask(kRows, kWidth, rate, 0, 1 + other), rate)),
                bound);
    }
  }
}

TEST(DropoutMaskTest, AnyTwoRowsAreIndependent) {
  constexpr int64_t kRows = 512;
  constexpr int64_t kWidth = 4096;
  const at::Tensor centred = Mask(kRows, kWidth, 0.5).sub_(0.5).mul_(2.0);
  at::Tensor correlations =
      at::mm(centred, centred.t()).div_(static_cast<double>(kWidth));
  correlations.fill_diagonal_(0.0);
  const double sigma = 1.0 / std::sqrt(static_cast<double>(kWidth));
  // Of 130,816 pairs the largest is beyond 6 sigma once in 4,000 seeds.
  EXPECT_LT(correlations.abs().max().item<double>(), 6.0 * sigma);
  EXPECT_NEAR(correlations.pow(2).mean().sqrt().item<double>(), sigma,
              0.02 * sigma);
}

TEST(DropoutMaskTest, RowsThatCountFromNearbyNumbersAreIndependent) {
  // The lower half of the mixed key is where a row's counter begins. Where two
  // begin this close, one would be the other shifted but for the upper half.
  constexpr uint32_t kClose = 512;
  constexpr int64_t kWidth = 4096;
  const std::vector<uint64_t> keys = Keys(1 << 15);
  std::vector<std::pair<uint32_t, uint64_t>> begins;
  for (const uint64_t key : keys) {
    begins.emplace_back(static_cast<uint32_t>(Mix(key ^ Mix(0))), key);
  }
  std::sort(begins.begin(), begins.end());
  const at::Tensor x = at::ones({2, kWidth}, at::kFloat);
  double sum = 0.0;
  int pairs = 0;
  for (size_t i = 1; i < begins.size(); ++i) {
    const auto shift =
        static_cast<int64_t>(begins[i].first - begins[i - 1].first);
    if (shift > kClose) continue;
    const std::vector<uint64_t> two = {begins[i - 1].second, begins[i].second};
    const at::Tensor mask = DropoutRows(x, two, 0, 0.5).ne(0.0).to(at::kDouble);
    sum += Correlation(mask[0].narrow(0, shift, kWidth - shift),
                       mask[1].narrow(0, 0, kWidth - shift), 0.5);
    ++pairs;
  }
  ASSERT_GT(pairs, 50);
  EXPECT_LT(std::abs(sum / pairs), 0.05);
}

TEST(DropoutMaskTest, EightNeighboursAreAnyPatternAsOften) {
  const at::Tensor mask = Mask(512, 4096, 0.5).to(at::kLong);
  const int64_t* kept = mask.const_data_ptr<int64_t>();
  std::array<double, 256> counts{};
  const int64_t patterns = mask.numel() / 8;
  for (int64_t i = 0; i < patterns; ++i) {
    size_t pattern = 0;
    for (int64_t bit = 0; bit < 8; ++bit) {
      pattern = 2 * pattern + static_cast<size_t>(kept[8 * i + bit]);
    }
    ++counts[pattern];
  }
  const double expected = static_cast<double>(patterns) / 256.0;
  double chi_square = 0.0;
  for (const double count : counts) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  // 255 degrees of freedom, standard deviation 22.6.
  EXPECT_NEAR(chi_square, 255.0, 100.0);
}

TEST(DropoutMaskTest, ARowsMaskIsItsOwn) {
  const at::Tensor x = RandomTensor({9, 333}, at::kFloat, 3);
  const std::vector<uint64_t> keys = Keys(9);
  const at::Tensor all = DropoutRows(x, keys, 5, 0.4);
  for (int64_t row = 0; row < 9; ++row) {
    EXPECT_TRUE(at::equal(DropoutRows(x.narrow(0, row, 1),
                                      absl::MakeConstSpan(keys).subspan(
                                          static_cast<size_t>(row), 1),
                                      5, 0.4),
                          all.narrow(0, row, 1)));
  }
  // A wider matrix has the same masks at its beginning.
  EXPECT_TRUE(at::equal(DropoutRows(x.narrow(1, 0, 100), keys, 5, 0.4),
                        all.narrow(1, 0, 100)));
}

TEST(DropoutMaskTest, BitsDoNotDependOnTheNumberOfThreads) {
  const at::Tensor x = RandomTensor({500, 777}, at::kFloat, 3);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = DropoutRows(x, Keys(500), 5, 0.1);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(DropoutRows(x, Keys(500), 5, 0.1), alone));
  at::set_num_threads(before);
}

TEST(DropoutMaskTest, TorchsOperatorsGiveTheSameBits) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const double rate : {0.0, 0.05, 0.7}) {
      SCOPED_TRACE(c10::toString(dtype));
      const at::Tensor x = RandomTensor({33, 517}, dtype, 3);
      EXPECT_TRUE(at::equal(DropoutRows(x, Keys(33), 11, rate),
                            DropoutRowsByOperators(x, Keys(33), 11, rate)));
      const at::Tensor view = x.narrow(1, 5, 100).t();
      EXPECT_TRUE(at::equal(DropoutRows(view, Keys(100), 11, rate),
                            DropoutRowsByOperators(view, Keys(100), 11, rate)));
    }
  }
}

TEST(DropoutMaskTest, MasksAreTheSameForEveryType) {
  const at::Tensor wide = Mask(40, 300, 0.2, 3);
  for (const at::ScalarType dtype : {at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor x = at::ones({40, 300}, at::TensorOptions().dtype(dtype));
    EXPECT_TRUE(at::equal(
        DropoutRows(x, Keys(40), 3, 0.2).ne(0.0).to(at::kDouble), wide));
  }
}

TEST(DropoutMaskTest, WhatIsNotANumberStaysUnlessDropped) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const double odd : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity()}) {
      const at::Tensor x =
          at::full({4, 100}, odd, at::TensorOptions().dtype(dtype));
      const at::Tensor out = DropoutRows(x, Keys(4), 3, 0.5);
      EXPECT_TRUE(
          at::equal(out.eq(0.0).to(at::kDouble), 1.0 - Mask(4, 100, 0.5, 3)));
      EXPECT_TRUE(at::equal(out.isfinite(), out.eq(0.0)));
    }
  }
}

TEST(DropoutMaskTest, TakesMatricesWithoutRowsOrColumns) {
  EXPECT_EQ(DropoutRows(at::ones({0, 5}), {}, 1, 0.5).numel(), 0);
  EXPECT_EQ(DropoutRows(at::ones({3, 0}), Keys(3), 1, 0.5).numel(), 0);
}

}  // namespace
}  // namespace dissonance
