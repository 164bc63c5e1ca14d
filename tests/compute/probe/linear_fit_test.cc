// Fits against scikit-learn's optimum, polished by Newton's method in float64,
// and against each other.
#include "src/compute/probe/linear_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "src/compute/probe/fit_rows.h"
#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

at::Tensor LabelTensor(const std::vector<int32_t>& classes) {
  return at::tensor(std::vector<double>(classes.begin(), classes.end()),
                    at::kDouble);
}

// Training masks of the folds, [5, n].
at::Tensor MasksOf(const std::vector<int32_t>& folds) {
  const at::Tensor numbers =
      at::tensor(std::vector<int64_t>(folds.begin(), folds.end()), at::kLong);
  return (at::arange(5, at::kLong).unsqueeze(1) != numbers).to(at::kDouble);
}

FitSettings FoldSettings(const at::Tensor& labels, double c) {
  return {.mask = at::arange(5, at::kLong),
          .labels = labels.expand({5, -1}).contiguous(),
          .c = at::full({5}, c, at::kDouble),
          .tolerance = at::full({5}, 1e-7, at::kDouble)};
}

struct GoldenParam {
  std::string set;
  std::string labels;
  std::string intercept;  // "lbfgs": free, "liblinear": penalised
};

class ProbeGoldenTest : public testing::TestWithParam<GoldenParam> {};

TEST_P(ProbeGoldenTest, FindsScikitLearnsCoefficients) {
  const ProbeGolden golden = ReadProbeGolden(GetParam().set);
  const ScaledRows rows(golden.Tensor("X"),
                        MasksOf(golden.Folds(GetParam().labels)), true);
  LinearFit fit(
      LinearLoss::kLogistic, rows.ForFits(),
      FoldSettings(LabelTensor(golden.Classes(GetParam().labels)), 0.1),
      {.penalize_intercept = GetParam().intercept == "liblinear"});
  while (fit.Iterate()) {
  }
  for (int64_t fold = 0; fold < 5; ++fold) {
    const std::string prefix = GetParam().labels + "." + GetParam().intercept +
                               ".fold" + std::to_string(fold) + ".";
    const at::Tensor expected = golden.Tensor(prefix + "coef").to(at::kDouble);
    const at::Tensor weight = fit.weights()[fold][0];
    EXPECT_LE(MaxAbsDifference(weight, expected),
              1e-4 * expected.abs().max().item<double>())
        << prefix;
    const double intercept =
        golden.config[GetParam().labels + "_labels"][GetParam().intercept]
                     ["folds"][static_cast<size_t>(fold)]["intercept"];
    EXPECT_NEAR(fit.intercepts()[fold][0].item<double>(), intercept, 1e-5);
    EXPECT_LE(fit.gradient_max()[static_cast<size_t>(fold)], 1e-7);
    const auto [mean, scale] = rows.Scaler(fold);
    const std::string scaler =
        GetParam().labels + ".fold" + std::to_string(fold);
    EXPECT_LE(MaxAbsDifference(mean, golden.Tensor(scaler + ".scaler_mean")),
              1e-6);
    EXPECT_LE(MaxAbsDifference(scale, golden.Tensor(scaler + ".scaler_scale")),
              1e-6);
  }
}

TEST_P(ProbeGoldenTest, DecidesAsScikitLearnDoes) {
  const ProbeGolden golden = ReadProbeGolden(GetParam().set);
  ProbeOptions options = PlainOptions();
  options.penalize_intercept = GetParam().intercept == "liblinear";
  options.fold_of_row = golden.Folds(GetParam().labels);
  const std::vector<FittedProbe> probes =
      FitPlace(PlanFor(options, {.classes = golden.Classes(GetParam().labels)}),
               {golden.Tensor("X")});
  ASSERT_EQ(probes.size(), 1);
  EXPECT_TRUE(probes[0].converged);
  const nlohmann::json& expected =
      golden.config[GetParam().labels + "_labels"][GetParam().intercept];
  for (size_t fold = 0; fold < 5; ++fold) {
    EXPECT_NEAR(probes[0].auc->folds[fold],
                expected["folds"][fold]["auc"].get<double>(), 1e-9);
    EXPECT_NEAR(probes[0].accuracy.folds[fold],
                expected["folds"][fold]["accuracy"].get<double>(), 1e-9);
  }
  EXPECT_NEAR(probes[0].auc->mean, expected["mean_auc"].get<double>(), 1e-9);
  EXPECT_NEAR(probes[0].accuracy.mean, expected["mean_accuracy"].get<double>(),
              1e-9);
}

std::vector<GoldenParam> GoldenParams() {
  std::vector<GoldenParam> params;
  for (const std::string set : {"balanced", "constant_columns", "grouped",
                                "imbalanced_15_85", "n_lt_d", "separable"}) {
    for (const std::string labels : {"true", "dummy", "grouped"}) {
      if (labels == "grouped" && set != "grouped") {
        continue;
      }
      for (const std::string intercept : {"lbfgs", "liblinear"}) {
        params.push_back({set, labels, intercept});
      }
    }
  }
  return params;
}

INSTANTIATE_TEST_SUITE_P(Sets, ProbeGoldenTest,
                         testing::ValuesIn(GoldenParams()),
                         [](const testing::TestParamInfo<GoldenParam>& info) {
                           return info.param.set + "_" + info.param.labels +
                                  "_" + info.param.intercept;
                         });

TEST(LinearFit, GivesTheSameInTheRowsSpan) {
  const ProbeGolden golden = ReadProbeGolden("n_lt_d");
  const at::Tensor masks = MasksOf(golden.Folds("true"));
  const ScaledRows rows(golden.Tensor("X"), masks, true);
  const at::Tensor labels = LabelTensor(golden.Classes("true"));
  for (int64_t fold = 0; fold < 5; ++fold) {
    const at::Tensor scaled = rows.Scaled(fold);
    const SpanRows span = SpanOf(scaled);
    FitSettings settings = FoldSettings(labels, 0.1);
    settings.mask.zero_();
    LinearFit fit(LinearLoss::kLogistic,
                  {.coarse = span.coordinates.to(at::kFloat),
                   .exact = [&span] { return span.coordinates; },
                   .masks = masks.slice(0, fold, fold + 1)},
                  settings, {});
    while (fit.Iterate()) {
    }
    const at::Tensor weight = scaled.t().mv(span.back.mv(fit.weights()[0][0]));
    const at::Tensor expected =
        golden.Tensor("true.lbfgs.fold" + std::to_string(fold) + ".coef");
    EXPECT_LE(MaxAbsDifference(weight, expected),
              1e-4 * expected.abs().max().item<double>());
  }
}

// Loops and torch's calls: the same steps but for the order of sums.
TEST(LinearFit, GivesTheSameInLoopsAndByCalls) {
  const MadeRows made = MakeRows(75, 12, 1.0, 6);
  const at::Tensor masks = MasksOf([] {
    std::vector<int32_t> folds;
    for (int32_t i = 0; i < 75; ++i) folds.push_back(i / 3 % 5);
    return folds;
  }());
  for (const LinearLoss loss :
       {LinearLoss::kLogistic, LinearLoss::kSoftmax, LinearLoss::kSquared}) {
    for (const bool is_plain : {false, true}) {  // scaled, intercept penalised
      const ScaledRows rows(made.rows, masks, !is_plain);
      const at::Tensor labels =
          loss == LinearLoss::kLogistic
              ? LabelTensor(made.classes)
              : at::arange(75, at::kLong).remainder(3).to(at::kDouble);
      std::vector<at::Tensor> weights;
      std::vector<at::Tensor> scores;
      for (const bool in_loops : {true, false}) {
        FitSettings settings = FoldSettings(labels, 0.1);
        settings.tolerance.fill_(1e-9);
        LinearFit fit(loss, rows.ForFits(), settings,
                      {.class_count = 3,
                       .penalize_intercept = is_plain,
                       .in_loops = in_loops});
        while (fit.Iterate()) {
        }
        EXPECT_LE(fit.gradient_max()[2], 1e-9);
        weights.push_back(fit.weights());
        scores.push_back(fit.scores());
      }
      EXPECT_LE(MaxAbsDifference(weights[0], weights[1]), 1e-7);
      EXPECT_LE(MaxAbsDifference(scores[0], scores[1]), 1e-7);
    }
  }
}

// What changes in float32 led to, computed anew in float64.
TEST(LinearFit, ItsDerivativesAreAsSmallAsItSays) {
  const MadeRows made = MakeRows(150, 40, 1.0, 8);
  std::vector<int32_t> folds;
  for (int32_t i = 0; i < 150; ++i) folds.push_back(i / 2 % 5);
  const ScaledRows rows(made.rows + 100.0, MasksOf(folds), true);
  const at::Tensor labels = LabelTensor(made.classes);
  FitSettings settings = FoldSettings(labels, 0.1);
  settings.tolerance.fill_(1e-10);
  LinearFit fit(LinearLoss::kLogistic, rows.ForFits(), settings, {});
  while (fit.Iterate()) {
  }
  for (int64_t fold = 0; fold < 5; ++fold) {
    const at::Tensor z = rows.Scaled(fold);
    const at::Tensor weight = fit.weights()[fold][0];
    const at::Tensor f = z.mv(weight) + fit.intercepts()[fold][0];
    EXPECT_LE(MaxAbsDifference(fit.scores()[fold][0], f), 1e-10);
    const at::Tensor trains = rows.masks()[fold];
    const at::Tensor residual = 0.1 * trains * (f.sigmoid() - labels);
    const double unit = 0.1 * trains.sum().item<double>();
    const at::Tensor slopes = z.t().mv(residual) + weight;
    EXPECT_LE(slopes.abs().max().item<double>() / unit, 1.1e-10);
    EXPECT_LE(std::abs(residual.sum().item<double>()) / unit, 1.1e-10);
    EXPECT_LE(fit.gradient_max()[static_cast<size_t>(fold)], 1e-10);
  }
}

TEST(LinearFit, SolvesRidgeRegressionAsTheNormalEquationsDo) {
  const MadeRows made = MakeRows(60, 10, 1.0, 3);
  const at::Tensor masks = at::ones({1, 60}, at::kDouble);
  const ScaledRows rows(made.rows, masks, true);
  const at::Tensor y = made.rows.select(1, 3).to(at::kDouble) * 2.0 + 1.0;
  LinearFit fit(LinearLoss::kSquared, rows.ForFits(),
                {.mask = at::tensor(std::vector<int64_t>{0}, at::kLong),
                 .labels = y.unsqueeze(0),
                 .c = at::full({1}, 0.1, at::kDouble),
                 .tolerance = at::full({1}, 1e-9, at::kDouble)},
                {});
  while (fit.Iterate()) {
  }
  const at::Tensor z = rows.Scaled(0);
  const at::Tensor expected = at::linalg_solve(
      z.t().mm(z) + at::eye(10, at::kDouble) / 0.1, z.t().mv(y - y.mean()));
  EXPECT_LE(MaxAbsDifference(fit.weights()[0][0], expected), 1e-6);
  EXPECT_NEAR(fit.intercepts()[0][0].item<double>(), y.mean().item<double>(),
              1e-6);
}

TEST(LinearFit, SaysSoWhenItMayIterateNoMore) {
  const MadeRows made = MakeRows(60, 10, 1.0, 4);
  ProbeOptions options = PlainOptions();
  options.max_iterations = 2;
  const std::vector<FittedProbe> probes =
      FitPlace(PlanFor(options, {.classes = made.classes}), {made.rows});
  EXPECT_FALSE(probes[0].converged);
  EXPECT_GT(probes[0].gradient_max, 1e-7);
  EXPECT_EQ(probes[0].iterations, 2);
  EXPECT_FALSE(probes[0].note.empty());
}

}  // namespace
}  // namespace dissonance
