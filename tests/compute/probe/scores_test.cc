#include "src/compute/probe/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

// Two folds of four rows each.
TestedRows EightRows() {
  return {.class_count = 2,
          .fold_count = 2,
          .decisions = {-1, -0.5, 0.5, 1, 1, -0.25, 0.25, -1},
          .labels = {0, 0, 1, 1, 0, 0, 1, 1},
          .fold = {0, 0, 0, 0, 1, 1, 1, 1},
          .group = {0, 1, 2, 3, 4, 5, 6, 7}};
}

TEST(RocAuc, EqualsScikitLearnsWithTies) {
  std::ifstream file(std::string(DISSONANCE_SOURCE_DIR) +
                     "/tests/goldens/probes/auc_cases.json");
  ASSERT_TRUE(file.good());
  for (const nlohmann::json& one : nlohmann::json::parse(file)["cases"]) {
    const std::vector<double> labels = one["y"];
    const std::vector<double> decisions = one["s"];
    const std::optional<double> auc = RocAuc(decisions, labels);
    if (one["auc"].is_null()) {
      EXPECT_EQ(auc, std::nullopt);
    } else {
      EXPECT_NEAR(*auc, one["auc"].get<double>(), 1e-12);
    }
  }
}

TEST(RocAuc, EqualsScikitLearnsOnRoundedScores) {
  for (const char* set : {"balanced", "grouped", "imbalanced_15_85"}) {
    const ProbeGolden golden = ReadProbeGolden(set);
    const std::vector<int64_t> y = golden.Indices("y");
    for (const auto& [name, auc] : golden.config["auc_with_ties"].items()) {
      const at::Tensor scores =
          golden.Tensor("ties." + name + ".scores").to(at::kDouble);
      EXPECT_NEAR(*RocAuc({scores.const_data_ptr<double>(), y.size()},
                          std::vector<double>(y.begin(), y.end())),
                  auc.get<double>(), 1e-9);
    }
  }
}

TEST(ScoreFolds, AveragesOverFolds) {
  const FoldScores scores = ScoreFolds(EightRows());
  EXPECT_DOUBLE_EQ(scores.auc.folds[0], 1.0);
  EXPECT_DOUBLE_EQ(scores.auc.folds[1], 0.25);
  EXPECT_DOUBLE_EQ(scores.auc.mean, 0.625);
  EXPECT_DOUBLE_EQ(scores.auc.deviation, 0.375);
  EXPECT_DOUBLE_EQ(scores.accuracy.folds[0], 1.0);
  EXPECT_DOUBLE_EQ(scores.accuracy.folds[1], 0.5);
}

TEST(ScoreFolds, LeavesOutAFoldOfOneClass) {
  TestedRows rows = EightRows();
  for (size_t i = 4; i < 8; ++i) rows.labels[i] = 1;
  const FoldScores scores = ScoreFolds(rows);
  EXPECT_TRUE(std::isnan(scores.auc.folds[1]));
  EXPECT_DOUBLE_EQ(scores.auc.mean, 1.0);
}

TEST(AddIntervals, SurroundsTheMean) {
  TestedRows rows = EightRows();
  FoldScores scores = ScoreFolds(rows);
  AddIntervals(rows, 500, 1, scores);
  EXPECT_LT(*scores.auc.low, 0.625);
  EXPECT_GT(*scores.auc.high, 0.625);
  FoldScores again = ScoreFolds(rows);
  AddIntervals(rows, 500, 1, again);
  EXPECT_EQ(scores.auc.low, again.auc.low);
}

// As with a few facts of many wordings each.
TEST(AddIntervals, SpreadAsTheFoldsDoWhereEachHoldsOneGroup) {
  TestedRows rows = EightRows();
  rows.group.assign(rows.fold.begin(), rows.fold.end());
  FoldScores scores = ScoreFolds(rows);
  AddIntervals(rows, 500, 1, scores);
  const auto [low, high] =
      std::minmax(scores.auc.folds[0], scores.auc.folds[1]);
  EXPECT_LT(low, high);
  EXPECT_DOUBLE_EQ(*scores.auc.low, low);
  EXPECT_DOUBLE_EQ(*scores.auc.high, high);
}

// Copies of a row say nothing new: intervals over groups must not shrink.
TEST(AddIntervals, ResamplesWholeGroups) {
  TestedRows copied{.class_count = 2,
                    .fold_count = 1,
                    .decisions = {},
                    .labels = {},
                    .fold = {},
                    .group = {}};
  const TestedRows once = EightRows();
  for (size_t i = 0; i < 8; ++i) {
    for (int copy = 0; copy < 20; ++copy) {
      copied.decisions.push_back(once.decisions[i]);
      copied.labels.push_back(once.labels[i]);
      copied.fold.push_back(0);
      copied.group.push_back(static_cast<int32_t>(i));
    }
  }
  FoldScores grouped = ScoreFolds(copied);
  AddIntervals(copied, 500, 1, grouped);
  for (size_t i = 0; i < copied.group.size(); ++i) {
    copied.group[i] = static_cast<int32_t>(i);
  }
  FoldScores alone = ScoreFolds(copied);
  AddIntervals(copied, 500, 1, alone);
  EXPECT_GT(*grouped.auc.high - *grouped.auc.low,
            2.0 * (*alone.auc.high - *alone.auc.low));
}

}  // namespace
}  // namespace dissonance
