#include "src/lab/eval/mcq_metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace dissonance {
namespace {

TEST(McqMetricsTest, LogSumExpAddsProbabilitiesWithoutUnderflow) {
  EXPECT_NEAR(LogSumExp({std::log(0.1), std::log(0.2)}), std::log(0.3), 1e-15);
  EXPECT_NEAR(LogSumExp({-1000, -1000}), -1000 + std::log(2.0), 1e-12);
  EXPECT_EQ(LogSumExp({-3.5}), -3.5);
}

TEST(McqMetricsTest, SoftmaxDependsOnDifferencesOnly) {
  // 8 : 4 : 2 : 1.
  const double step = std::log(2.0);
  const PerOption near = Softmax({3 * step, 2 * step, step, 0});
  const PerOption far =
      Softmax({-5000 + 3 * step, -5000 + 2 * step, -5000 + step, -5000});
  const PerOption expected = {8.0 / 15, 4.0 / 15, 2.0 / 15, 1.0 / 15};
  for (int option = 0; option < kMcqOptionCount; ++option) {
    EXPECT_NEAR(near[option], expected[option], 1e-15);
    EXPECT_NEAR(far[option], expected[option], 1e-12);
  }
}

TEST(McqMetricsTest, EntropyIsInNats) {
  EXPECT_NEAR(Entropy({0.25, 0.25, 0.25, 0.25}), std::log(4.0), 1e-15);
  EXPECT_NEAR(Entropy({0.5, 0.5, 0, 0}), std::log(2.0), 1e-15);
  EXPECT_EQ(Entropy({0, 1, 0, 0}), 0.0);
}

TEST(McqMetricsTest, TiesGoToTheFirstLetter) {
  EXPECT_EQ(Argmax({-1, -1, -1, -1}), 0);
  EXPECT_EQ(Argmax({-2, -1, -3, -1}), 1);
  EXPECT_EQ(Argmax({-2, -3, -4, -1}), 3);
}

TEST(McqMetricsTest, MutualInformationIsWhatSamplesDisagreeOn) {
  const std::vector<PerOption> opposed = {{1, 0, 0, 0}, {0, 1, 0, 0}};
  const Uncertainty disagreement = UncertaintyOf(opposed);
  EXPECT_NEAR(disagreement.h_mean, std::log(2.0), 1e-15);
  EXPECT_EQ(disagreement.e_h, 0.0);
  EXPECT_NEAR(disagreement.mi, std::log(2.0), 1e-15);

  const std::vector<PerOption> unsure = {{0.5, 0.5, 0, 0}, {0.5, 0.5, 0, 0}};
  const Uncertainty agreement = UncertaintyOf(unsure);
  EXPECT_NEAR(agreement.h_mean, std::log(2.0), 1e-15);
  EXPECT_NEAR(agreement.e_h, std::log(2.0), 1e-15);
  EXPECT_NEAR(agreement.mi, 0.0, 1e-15);
}

TEST(McqMetricsTest, MutualInformationIsNeverNegative) {
  // Seven equal samples: rounding of the mean may exceed that of the entropy.
  const PerOption p = Softmax({-0.1, -0.7, -1.3, -2.9});
  for (int count = 1; count < 50; ++count) {
    EXPECT_GE(UncertaintyOf(std::vector<PerOption>(count, p)).mi, 0.0);
  }
}

TEST(McqMetricsTest, OneSampleHasNoMutualInformation) {
  const PerOption p = Softmax({-0.3, -1.1, -2.0, -0.4});
  const Uncertainty one = UncertaintyOf({p});
  EXPECT_EQ(one.h_mean, Entropy(p));
  EXPECT_EQ(one.e_h, Entropy(p));
  EXPECT_EQ(one.mi, 0.0);
}

// Values of the closed form, evaluated in Python.
TEST(McqMetricsTest, WilsonIntervalMatchesTheClosedForm) {
  EXPECT_NEAR(WilsonInterval(8, 10).low, 0.4901624715366418, 1e-12);
  EXPECT_NEAR(WilsonInterval(8, 10).high, 0.9433178485456247, 1e-12);
  EXPECT_NEAR(WilsonInterval(34, 40).low, 0.709276756335103, 1e-12);
  EXPECT_NEAR(WilsonInterval(34, 40).high, 0.9293881228267964, 1e-12);
  EXPECT_EQ(WilsonInterval(0, 10).low, 0.0);
  EXPECT_NEAR(WilsonInterval(0, 10).high, 0.2775327998628892, 1e-12);
  EXPECT_EQ(WilsonInterval(10, 10).high, 1.0);
  EXPECT_EQ(WilsonInterval(0, 0).low, 0.0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1.0);
}

// By hand: 2 (C(6,0) + C(6,1)) / 2^6 = 14/64; 2 / 2^5. The others as exact
// fractions in Python.
TEST(McqMetricsTest, McNemarIsTheExactBinomialTest) {
  EXPECT_NEAR(McNemarExactP(1, 5), 0.21875, 1e-15);
  EXPECT_NEAR(McNemarExactP(5, 1), 0.21875, 1e-15);
  EXPECT_NEAR(McNemarExactP(0, 5), 0.0625, 1e-15);
  EXPECT_NEAR(McNemarExactP(3, 12), 0.03515625, 1e-14);
  EXPECT_NEAR(McNemarExactP(40, 5) / 7.878384167270269e-08, 1, 1e-11);
  EXPECT_NEAR(McNemarExactP(900, 1100) / 8.457089535503927e-06, 1, 1e-9);
  EXPECT_EQ(McNemarExactP(0, 0), 1.0);
  EXPECT_EQ(McNemarExactP(1, 0), 1.0);
  EXPECT_EQ(McNemarExactP(7, 7), 1.0);
}

}  // namespace
}  // namespace dissonance
