#include "src/base/stratified_folds.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <vector>

namespace dissonance {
namespace {

const std::vector<double> kFifths(5, 0.2);

GroupedRows Ungrouped(std::vector<int32_t> classes, int64_t class_count) {
  GroupedRows rows{
      .classes = std::move(classes), .class_count = class_count, .groups = {}};
  rows.groups.resize(rows.classes.size());
  std::iota(rows.groups.begin(), rows.groups.end(), 0);
  return rows;
}

TEST(StratifiedFolds, GivesEveryFoldItsShareOfEveryClass) {
  std::vector<int32_t> classes(103, 0);
  for (size_t i = 0; i < 33; ++i) classes[3 * i] = 1;
  const std::vector<int32_t> folds =
      StratifiedFolds(Ungrouped(classes, 2), kFifths, 7);
  std::map<std::pair<int32_t, int32_t>, int> counts;
  for (size_t i = 0; i < folds.size(); ++i) ++counts[{folds[i], classes[i]}];
  for (int32_t fold = 0; fold < 5; ++fold) {
    EXPECT_GE((counts[{fold, 0}]), 14);
    EXPECT_LE((counts[{fold, 0}]), 14);
    EXPECT_GE((counts[{fold, 1}]), 6);
    EXPECT_LE((counts[{fold, 1}]), 7);
  }
}

TEST(StratifiedFolds, KeepsGroupsTogether) {
  GroupedRows rows = Ungrouped(std::vector<int32_t>(60, 0), 2);
  for (size_t i = 0; i < 60; ++i) {
    rows.groups[i] = static_cast<int32_t>(i / 4);
    rows.classes[i] = rows.groups[i] % 2;
  }
  const std::vector<int32_t> folds = StratifiedFolds(rows, kFifths, 1);
  std::map<int32_t, std::set<int32_t>> folds_of_group;
  for (size_t i = 0; i < 60; ++i) {
    folds_of_group[rows.groups[i]].insert(folds[i]);
  }
  for (const auto& [group, own] : folds_of_group) EXPECT_EQ(own.size(), 1);
}

TEST(StratifiedFolds, IsDrawnByItsKeyAlone) {
  const GroupedRows rows = Ungrouped(std::vector<int32_t>(50, 0), 1);
  EXPECT_EQ(StratifiedFolds(rows, kFifths, 3),
            StratifiedFolds(rows, kFifths, 3));
  EXPECT_NE(StratifiedFolds(rows, kFifths, 3),
            StratifiedFolds(rows, kFifths, 4));
}

TEST(StratifiedFolds, TakesUnequalShares) {
  const std::vector<int32_t> folds = StratifiedFolds(
      Ungrouped(std::vector<int32_t>(100, 0), 1), {0.2, 0.8}, 5);
  EXPECT_EQ(std::count(folds.begin(), folds.end(), 0), 20);
}

}  // namespace
}  // namespace dissonance
