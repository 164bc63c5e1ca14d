// A small file of judgements whose numbers were worked out by hand.
#include "src/lab/judge/judge_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <utility>

namespace dissonance {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Optional;
using testing::SizeIs;

struct Given {
  std::string variant, id, category;
  World world = World::kTrue;
  double confidence = 0;
  std::array<int, 4> doubt = {};
  std::array<int, 3> difficulty = {};
};

Judgement Judged(const Given& given, const std::string& judge = "default/j") {
  return {.label = {.variant = given.variant,
                    .id = given.id,
                    .category = given.category},
          .judge = judge,
          .verdict = Verdict{.world = given.world,
                             .confidence = given.confidence,
                             .doubt = given.doubt,
                             .difficulty = given.difficulty}};
}

Judgement Failed(Judgement judgement) {
  judgement.verdict.reset();
  judgement.error = "no reply: gone";
  return judgement;
}

// Doubt 0, 2, 6 and an error; then 3, 4, 2, 0 and an error. Difficulty 0, 4, 6;
// then 1, 3, 1, 4.
Judgements Shown() {
  Judgements all;
  all.rows = {
      Judged({"base", "q1", "easy", World::kTrue, 90, {0, 0, 0, 0}, {3, 3, 3}}),
      Judged({"base", "q2", "easy", World::kTrue, 80, {1, 0, 1, 0}, {2, 2, 1}}),
      Judged(
          {"base", "q3", "hard", World::kUnsure, 40, {3, 1, 2, 0}, {1, 1, 1}}),
      Failed(Judged({"base", "q4", "hard"})),
      Judged(
          {"lora", "q1", "easy", World::kFalse, 70, {1, 1, 1, 0}, {2, 3, 3}}),
      Judged({"lora", "q2", "easy", World::kTrue, 60, {2, 1, 1, 0}, {2, 2, 2}}),
      Judged(
          {"lora", "q3", "hard", World::kFalse, 100, {1, 1, 0, 0}, {3, 2, 3}}),
      Judged({"lora", "q4", "hard", World::kTrue, 50, {0, 0, 0, 0}, {2, 3, 0}}),
      Failed(Judged({"lora", "q5", "hard"}))};
  return all;
}

TEST(SummarizeJudgements, GivesTheFiguresOfEachVariantAndCategory) {
  const JudgeSummary summary = SummarizeJudgements(Shown());
  ASSERT_THAT(summary.passes, SizeIs(1));
  const JudgePass& pass = summary.passes[0];
  EXPECT_EQ(pass.judge, "default/j");
  ASSERT_THAT(pass.variants, SizeIs(2));
  const JudgeFigures& base = pass.variants[0].all;
  EXPECT_EQ(pass.variants[0].variant, "base");
  EXPECT_EQ(base.count, 4);
  EXPECT_EQ(base.judged_count, 3);
  EXPECT_THAT(base.verdict_counts, ElementsAre(2, 0, 0, 1));
  EXPECT_THAT(base.mean_confidence, Optional(70.0));
  EXPECT_THAT(base.mean_doubt_score, Optional(8.0 / 3));
  EXPECT_THAT(base.mean_difficulty_proxy, Optional(10.0 / 3));
  const JudgeFigures& lora = pass.variants[1].all;
  EXPECT_EQ(lora.count, 5);
  EXPECT_EQ(lora.judged_count, 4);
  EXPECT_THAT(lora.verdict_counts, ElementsAre(2, 2, 0, 0));
  EXPECT_THAT(lora.mean_confidence, Optional(70.0));
  EXPECT_THAT(lora.mean_doubt_score, Optional(2.25));
  EXPECT_THAT(lora.mean_difficulty_proxy, Optional(2.25));
  const JudgeFigures& hard = pass.variants[0].by_category.at("hard");
  EXPECT_EQ(hard.count, 2);
  EXPECT_EQ(hard.judged_count, 1);
  EXPECT_THAT(hard.mean_confidence, Optional(40.0));
  EXPECT_THAT(hard.mean_doubt_score, Optional(6.0));
  EXPECT_THAT(hard.mean_difficulty_proxy, Optional(6.0));
}

TEST(SummarizeJudgements, GivesTheShiftsOfPairsAndCountsTheRest) {
  const JudgeSummary summary = SummarizeJudgements(Shown());
  ASSERT_THAT(summary.passes[0].shifts, SizeIs(1));
  const VariantShift& shift = summary.passes[0].shifts[0];
  EXPECT_EQ(shift.baseline, "base");
  EXPECT_EQ(shift.pair_count, 3);
  EXPECT_EQ(shift.error_pair_count, 1);
  EXPECT_EQ(shift.single_count, 1);
  EXPECT_THAT(shift.mean_doubt_delta, Optional(1.0 / 3));  // 3 + 2 - 4
  ASSERT_THAT(shift.large, SizeIs(2));
  EXPECT_EQ(shift.large[0].id, "q3");
  EXPECT_EQ(shift.large[0].delta(), -4);
  EXPECT_EQ(shift.large[1].id, "q1");
  EXPECT_EQ(shift.large[1].delta(), 3);
  EXPECT_THAT(shift.transitions,
              ElementsAre(ElementsAre(1, 1, 0, 0), ElementsAre(0, 0, 0, 0),
                          ElementsAre(0, 0, 0, 0), ElementsAre(0, 1, 0, 0)));
}

TEST(SummarizeJudgements, PairsAnswersOfTheSameSample) {
  Judgements all = Shown();
  all.rows.resize(5);
  all.rows[4].label.sample = 1;
  const JudgeSummary summary = SummarizeJudgements(all);
  const VariantShift& shift = summary.passes[0].shifts[0];
  EXPECT_EQ(shift.pair_count, 0);
  EXPECT_EQ(shift.single_count, 5);
  EXPECT_FALSE(shift.mean_doubt_delta.has_value());
}

TEST(SummarizeJudgements, KeepsJudgesApartAndSaysHowTheyAgree) {
  Judgements all = Shown();
  all.rows.push_back(
      Judged({"base", "q1", "easy", World::kTrue, 10, {0, 0, 0, 1}, {0, 0, 0}},
             "other/k"));
  all.rows.push_back(
      Judged({"base", "q2", "easy", World::kFalse, 10, {1, 1, 0, 0}, {0, 0, 0}},
             "other/k"));
  all.rows.push_back(Failed(Judged({"base", "q3", "hard"}, "other/k")));
  all.rows.push_back(Judged({"base", "q4", "hard"}, "other/k"));
  const JudgeSummary summary = SummarizeJudgements(all);
  ASSERT_THAT(summary.passes, SizeIs(2));
  EXPECT_THAT(summary.passes[0].variants[0].all.mean_confidence,
              Optional(70.0));
  EXPECT_EQ(summary.passes[1].judge, "other/k");
  EXPECT_EQ(summary.passes[1].variants[0].all.judged_count, 3);
  ASSERT_THAT(summary.agreements, SizeIs(1));
  const PassAgreement& agreement = summary.agreements[0];
  EXPECT_EQ(agreement.agreement.pair_count, 2);
  EXPECT_EQ(agreement.error_pair_count, 2);
  EXPECT_THAT(agreement.agreement.same_verdict_share, Optional(0.5));
  EXPECT_THAT(agreement.agreement.kappa, Optional(0.0));
  EXPECT_THAT(agreement.agreement.mean_doubt_difference, Optional(0.5));
}

TEST(JudgeSummaryFile, HoldsTheFiguresUnderTheirNames) {
  const json file = json::parse(JudgeSummaryFile(SummarizeJudgements(Shown())));
  EXPECT_EQ(file["mode"], "world_and_doubt");
  const json& base = file["passes"][0]["variants"][0];
  EXPECT_EQ(base["errors"], 1);
  EXPECT_EQ(base["verdicts"]["true_world"]["n"], 2);
  EXPECT_EQ(base["verdicts"]["true_world"]["share"], 2.0 / 3);
  EXPECT_EQ(base["categories"][1]["category"], "hard");
  const json& shift = file["passes"][0]["shifts"][0];
  EXPECT_EQ(shift["large_n"], 2);
  EXPECT_EQ(shift["large"][0]["doubt_score_from"], 6);
  EXPECT_EQ(shift["large"][0]["verdict_to"], "false_world");
  EXPECT_EQ(shift["transitions"]["unsure"]["false_world"], 1);
}

// A number that is not finite would be null as well: each null is looked at.
TEST(JudgeSummaryFile, WhatWasNotJudgedIsNullAndNotZero) {
  Judgements all;
  all.rows = {Failed(Judged({"base", "q1", ""})),
              Failed(Judged({"lora", "q1", ""})),
              Failed(Judged({"base", "q1", ""}, "other/k"))};
  const JudgeSummary summary = SummarizeJudgements(all);
  const JudgeFigures& base = summary.passes[0].variants[0].all;
  EXPECT_FALSE(base.mean_confidence.has_value() ||
               base.mean_doubt_score.has_value() ||
               base.mean_difficulty_proxy.has_value());
  const json file = json::parse(JudgeSummaryFile(summary));
  EXPECT_EQ(file["passes"][0]["variants"][0]["judged"], 0);
  for (const char* pointer :
       {"/passes/0/variants/0/mean_doubt_score",
        "/passes/0/variants/0/mean_confidence",
        "/passes/0/variants/0/mean_difficulty_proxy",
        "/passes/0/variants/0/verdicts/unsure/share",
        "/passes/0/variants/0/categories/0/category",
        "/passes/0/shifts/0/mean_doubt_delta", "/agreements/0/kappa",
        "/agreements/0/same_verdict_share"}) {
    EXPECT_TRUE(file.at(json::json_pointer(pointer)).is_null()) << pointer;
  }
  EXPECT_EQ(file["agreements"][0]["no_kappa_reason"],
            "no answer was judged by both");
  EXPECT_THAT(JudgeReport(summary), Not(HasSubstr("nan")));
}

TEST(JudgeReport, ShowsTablesForPeople) {
  const std::string report = JudgeReport(SummarizeJudgements(Shown()));
  EXPECT_THAT(
      report,
      HasSubstr("default/j, pass 1\n\n"
                "VARIANT  CATEGORY  N  ERRORS     TRUE   FALSE  AMBIGUOUS   "
                "UNSURE  CONFIDENCE  DOUBT  DIFFICULTY\n"
                "base     all       4       1   66.7 %   0.0 %      0.0 %   "
                "33.3 %       70.00   2.67        3.33\n"));
  EXPECT_THAT(report,
              HasSubstr("\nlora against base: 3 pairs, doubt score +0.33 on "
                        "average, by 3 or more in 2\n"
                        "left out: 1 with an error on one side, 1 without a "
                        "partner\n"
                        "verdicts\n"
                        "  true_world  ->  true_world   1\n"));
  EXPECT_THAT(report, HasSubstr("large shifts\n"
                                "  q3  sample 0  6 -> 2  unsure -> false_world"
                                "\n"));
  EXPECT_THAT(JudgeReport(SummarizeJudgements(Shown()), 1),
              HasSubstr("  and 1 more in judge_summary.json\n"));
}

TEST(JudgeReport, DoubtAloneHasNoColumnsForWorlds) {
  Judgements all = Shown();
  all.names_world = false;
  for (Judgement& row : all.rows) {
    if (!row.verdict.has_value()) continue;
    row.verdict->world.reset();
    row.verdict->confidence.reset();
  }
  const JudgeSummary summary = SummarizeJudgements(all);
  const std::string report = JudgeReport(summary);
  EXPECT_THAT(report, Not(HasSubstr("UNSURE")));
  EXPECT_THAT(report, Not(HasSubstr("verdicts")));
  EXPECT_THAT(report, HasSubstr("  q3  sample 0  6 -> 2\n"));
  const json file = json::parse(JudgeSummaryFile(summary));
  EXPECT_TRUE(file["passes"][0]["variants"][0]["verdicts"].is_null());
  EXPECT_TRUE(file["passes"][0]["shifts"][0]["transitions"].is_null());
}

}  // namespace
}  // namespace dissonance
