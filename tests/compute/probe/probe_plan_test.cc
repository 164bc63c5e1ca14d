#include "src/compute/probe/probe_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/compute/probe/probe_testing.h"

namespace dissonance {
namespace {

using testing::HasSubstr;

std::vector<int32_t> Alternate(size_t count) {
  std::vector<int32_t> classes(count);
  for (size_t i = 0; i < count; ++i) classes[i] = static_cast<int32_t>(i % 2);
  return classes;
}

std::string ErrorOf(const ProbeOptions& options, const ProbeLabels& labels,
                    std::vector<std::string> groups = {}) {
  groups.resize(
      std::max({labels.classes.size(), labels.values.size(), groups.size()}));
  const auto plan = ProbePlan::Create(
      options, {{.name = "conflict", .labels = {labels}}}, groups, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(plan.status())) << plan.status();
  return std::string(plan.status().message());
}

TEST(ProbePlan, RefusesWhatCanNotBeToldApart) {
  const ProbeOptions options;
  EXPECT_THAT(ErrorOf(options, {.classes = std::vector<int32_t>(20, 0)}),
              HasSubstr("target conflict: found 1 class(es)"));
  EXPECT_THAT(ErrorOf(options, {.classes = {0, 0, 0, 0, 0, 1, 1, 1}}),
              HasSubstr("class 1 has 3 input(s), fewer than the 5 folds"));
  EXPECT_THAT(ErrorOf(options, {.classes = {0, 1}}, {"a", "b", "c"}),
              HasSubstr("one for each of 3 inputs, found 2"));
  std::vector<std::string> pairs(20);
  for (size_t i = 0; i < 20; ++i) pairs[i] = i % 2 == 1 ? "same" : "";
  EXPECT_THAT(ErrorOf(options, {.classes = Alternate(20)}, pairs),
              HasSubstr("class 1 has 10 input(s) in 1 group(s)"));
  ProbeOptions ridge;
  ridge.method = ProbeMethod::kRidge;
  EXPECT_THAT(ErrorOf(ridge, {.values = std::vector<double>(20, 3.0)}),
              HasSubstr("1 different value(s)"));
}

TEST(ProbePlan, RefusesOptionsOutOfRange) {
  const ProbeLabels labels{.classes = Alternate(20)};
  ProbeOptions options;
  options.fold_count = 1;
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("fold_count is 1"));
  options = {};
  options.c_values = {0.1, 0.0};
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("c_values has 0"));
  options = {};
  options.test_fraction = 0.6;
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("test_fraction"));
  options = {};
  options.c_values = {1e39};
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("c_values has 1e+39"));
  options = {};
  options.permutation_count = 10'000;
  options.c_values.assign(400, 0.1);
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("use fewer permutations"));
  options = {};
  options.fold_of_row = {0, 1};
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("2 entries for 20 inputs"));
  options.fold_of_row.assign(20, 7);
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("fold_of_input has 7"));
  options.fold_of_row.assign(20, 0);
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("fold 0 has 10 of 10"));
  options = {};
  options.method = ProbeMethod::kLda;
  options.shrinkage = 0.0;
  EXPECT_THAT(ErrorOf(options, labels), HasSubstr("shrinkage is 0"));
  options = {};
  EXPECT_THAT(ErrorOf(options, {.classes = {0, 1, -2}}), HasSubstr("label -2"));
}

TEST(ProbePlan, LeavesUnlabelledRowsOut) {
  std::vector<int32_t> classes = Alternate(30);
  for (size_t i = 0; i < 10; ++i) classes[i] = -1;
  const auto plan = PlanFor({}, {.classes = classes});
  const ProbeProblem& problem = plan->problems()[0];
  EXPECT_EQ(problem.rows.size(), 20);
  EXPECT_EQ(problem.rows[0], 10);
  EXPECT_EQ(problem.shuffled.size(), 20);
}

TEST(ProbePlan, ShufflesLabelsOfWholeGroups) {
  std::vector<std::string> groups(40);
  std::vector<int32_t> classes(40);
  for (size_t i = 0; i < 40; ++i) {
    groups[i] = absl::StrCat("g", i / 2);
    classes[i] = static_cast<int32_t>(i / 2 % 2);
  }
  const auto plan = PlanFor({}, {.classes = classes}, groups);
  bool moved = false;
  for (const std::vector<double>& labels : plan->problems()[0].shuffled) {
    for (size_t i = 0; i < 40; i += 2) EXPECT_EQ(labels[i], labels[i + 1]);
    moved = moved || labels != plan->problems()[0].labels;
    EXPECT_EQ(std::count(labels.begin(), labels.end(), 1.0), 20);
  }
  EXPECT_TRUE(moved);
}

TEST(ProbePlan, HoldsAShareOfEveryClassOutOfTheSplit) {
  const auto plan = PlanFor({}, {.classes = Alternate(50)});
  const ProbeProblem& problem = plan->problems()[0];
  std::map<double, int> held_out;
  for (size_t i = 0; i < 50; ++i) {
    if (problem.in_split_test[i]) ++held_out[problem.labels[i]];
  }
  EXPECT_EQ(held_out[0.0], 5);
  EXPECT_EQ(held_out[1.0], 5);
}

TEST(ProbePlan, LeavesTheSplitOutWhereASideWouldLackAClass) {
  ProbeOptions options;
  options.test_fraction = 0.01;
  const auto plan = PlanFor(options, {.classes = Alternate(10)});
  EXPECT_TRUE(plan->problems()[0].in_split_test.empty());
}

TEST(ProbePlan, TakesLabelsForEachVariant) {
  std::vector<int32_t> other = Alternate(20);
  std::reverse(other.begin(), other.end());
  const auto plan = ProbePlan::Create(
      {},
      {{.name = "answered_false",
        .labels = {{.classes = Alternate(20)}, {.classes = other}}}},
      std::vector<std::string>(20), 2);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ((*plan)->problems().size(), 2);
  EXPECT_EQ((*plan)->problems()[1].labels[0], 1.0);
  other.assign(20, 1);
  const auto wrong = ProbePlan::Create(
      {},
      {{.name = "answered_false",
        .labels = {{.classes = Alternate(20)}, {.classes = other}}}},
      std::vector<std::string>(20), 2);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("target answered_false, variant 1: "));
}

}  // namespace
}  // namespace dissonance
