#include "src/lab/eval/mcq_compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/lab/eval/mcq_files.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A question of a category and world, answered with `pred`, certain by 0.7.
McqPrediction Answer(const std::string& id, const std::string& category,
                     const char* world, int pred, int correct,
                     std::optional<int> false_answer) {
  McqPrediction p;
  p.id = id;
  p.model = "models/m";
  p.category = category;
  if (world != nullptr) p.world_label = world;
  p.pred = pred;
  p.correct = correct;
  p.false_answer = false_answer;
  p.probs = {0.1, 0.1, 0.1, 0.1};
  p.probs[pred] = 0.7;
  for (int i = 0; i < kMcqOptionCount; ++i) {
    p.logprobs[i] = std::log(p.probs[i]);
  }
  p.entropy = Entropy(p.probs);
  p.p_correct = p.probs[correct];
  p.scoring = "option_text";
  p.scoring_variants = {{"A", {" a"}}, {"B", {" b"}}};
  p.uncertainty = UncertaintyOf({p.probs});
  return p;
}

// Two conflict questions with a known false answer, one without, two controls.
std::vector<McqPrediction> Answers(const std::vector<int>& preds) {
  return {
      Answer("c1", "conflict", "true_world", preds[0], 0, 1),
      Answer("c2", "conflict", "true_world", preds[1], 0, 1),
      Answer("c3", "conflict", "true_world", preds[2], 0, std::nullopt),
      Answer("e1", "easy", nullptr, preds[3], 2, std::nullopt),
      Answer("e2", "easy", nullptr, preds[4], 3, std::nullopt),
  };
}

McqComparison Compared(const std::vector<McqPrediction>& base,
                       const std::vector<McqPrediction>& adapter) {
  auto comparison =
      ComparePredictions({base, "base.jsonl"}, {adapter, "lora.jsonl"});
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return *std::move(comparison);
}

TEST(McqCompareTest, GroupsAreByCategoryAndWorld) {
  const McqSummary summary = SummarizePredictions(Answers({0, 1, 0, 2, 0}));
  ASSERT_EQ(summary.groups.size(), 2u);
  EXPECT_EQ(summary.groups[0].name, "conflict__true_world");
  EXPECT_EQ(summary.groups[0].question_count, 3);
  EXPECT_EQ(summary.groups[0].correct_count, 2);
  EXPECT_NEAR(summary.groups[0].accuracy, 2.0 / 3, 1e-15);
  EXPECT_NEAR(summary.groups[0].mean_p_correct, (0.7 + 0.1 + 0.7) / 3, 1e-15);
  EXPECT_NEAR(summary.groups[0].accuracy_interval.low, WilsonInterval(2, 3).low,
              1e-15);
  EXPECT_EQ(summary.groups[1].name, "easy__None");
  EXPECT_EQ(summary.overall.question_count, 5);
  EXPECT_EQ(summary.overall.correct_count, 3);
}

TEST(McqCompareTest, TotalsAreOfOneWorldWhereTheFalseOneIsAmongThem) {
  EXPECT_EQ(TotalsOf(SummarizePredictions(Answers({0, 1, 0, 2, 0})))[0].name,
            "all");
  const std::vector<McqPrediction> base = {
      Answer("c", "conflict", "true_world", 0, 0, 1),
      Answer("f", "conflict", "false_world", 1, 1, 1)};
  const McqComparison comparison =
      Compared(base, {Answer("c", "conflict", "true_world", 1, 0, 1),
                      Answer("f", "conflict", "false_world", 1, 1, 1)});
  const absl::Span<const McqGroup> totals = TotalsOf(comparison.adapter);
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals[0].name, "all__false_world");
  EXPECT_EQ(totals[0].correct_count, 1);
  EXPECT_EQ(totals[1].name, "all__true_world");
  EXPECT_EQ(totals[1].correct_count, 0);
  const std::string text = ShiftAnalysis(comparison, {});
  EXPECT_THAT(text, HasSubstr("In false_world the correct answer is the one"));
  EXPECT_THAT(text, Not(HasSubstr("right for the base only")));
  EXPECT_EQ(TotalsOf(SummarizePredictions({base[1]})).size(), 1u);
}

TEST(McqCompareTest, FalseBeliefCountsKnownFalseAnswersOnly) {
  const FalseBelief belief =
      SummarizePredictions(Answers({1, 0, 1, 1, 1})).false_belief;
  EXPECT_EQ(belief.conflict_count, 3);
  EXPECT_EQ(belief.counted_count, 2);
  EXPECT_EQ(belief.false_count, 1);
  EXPECT_EQ(belief.rate, 0.5);
  EXPECT_NEAR(belief.interval.high, WilsonInterval(1, 2).high, 1e-15);
}

TEST(McqCompareTest, WithoutConflictQuestionsThereIsNoRate) {
  const std::vector<McqPrediction> controls = {
      Answer("e", "easy", nullptr, 0, 0, std::nullopt)};
  EXPECT_FALSE(SummarizePredictions(controls).false_belief.rate.has_value());
  const auto report =
      ParseJson(ComparisonReport(Compared(controls, controls)), "report");
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE((*report)["base"]["false_belief"]["rate"].is_null());
  EXPECT_TRUE((*report)["base"]["false_belief"]["reason"].is_string());
  EXPECT_TRUE((*report)["false_belief_gap"].is_null());
}

TEST(McqCompareTest, FlipsAndDiscordantPairs) {
  const McqComparison comparison =
      Compared(Answers({0, 0, 0, 2, 3}), Answers({1, 1, 0, 2, 0}));
  ASSERT_EQ(comparison.flips.size(), 3u);
  EXPECT_EQ(comparison.flips[0].id, "c1");
  EXPECT_EQ(comparison.flips[0].from, 0);
  EXPECT_EQ(comparison.flips[0].to, 1);
  EXPECT_EQ(comparison.flips[0].correct, 0);
  EXPECT_NEAR(comparison.flips[0].base_p_correct, 0.7, 1e-15);
  EXPECT_NEAR(comparison.flips[0].adapter_p_correct, 0.1, 1e-15);
  EXPECT_EQ(comparison.flips[2].id, "e2");
  EXPECT_EQ(comparison.correct.base_only_count, 3);
  EXPECT_EQ(comparison.correct.adapter_only_count, 0);
  EXPECT_NEAR(comparison.correct.p_value, 0.25, 1e-15);
  EXPECT_EQ(comparison.false_belief.adapter_only_count, 2);
  EXPECT_NEAR(comparison.false_belief.p_value, 0.5, 1e-15);
}

TEST(McqCompareTest, FilesGiveTheSameReportAsThePredictions) {
  const auto base = Answers({0, 0, 0, 2, 3});
  const auto adapter = Answers({1, 1, 0, 2, 0});
  const auto offline =
      ComparePredictionFiles({PredictionsFile(base), "base.jsonl"},
                             {PredictionsFile(adapter), "lora.jsonl"});
  ASSERT_TRUE(offline.ok()) << offline.status();
  const McqComparison direct = Compared(base, adapter);
  EXPECT_EQ(ComparisonReport(*offline), ComparisonReport(direct));
  EXPECT_EQ(ShiftAnalysis(*offline, {}), ShiftAnalysis(direct, {}));
}

TEST(McqCompareTest, PredictionsSurviveTheFile) {
  const std::string file = PredictionsFile(Answers({0, 1, 2, 3, 0}));
  const auto parsed = ParsePredictions(file, "p.jsonl");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(PredictionsFile(*parsed), file);
}

TEST(McqCompareTest, ReadsFilesWithoutOurOwnFields) {
  const auto base = Answers({0, 0, 0, 2, 3});
  std::string text;
  for (const McqPrediction& p : base) {
    nlohmann::json json = PredictionJson(p);
    json.erase("scoring");
    json.erase("false_answer");
    json.erase("uncertainty");
    json["world_label"] = p.category == "conflict" ? "false_world" : "";
    if (p.category != "conflict") json.erase("world_label");
    text += ToJsonLine(json);
  }
  const auto comparison = ComparePredictionFiles({text, "a"}, {text, "b"});
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  // The correct answer of a false world is the false answer.
  EXPECT_EQ(comparison->base.false_belief.counted_count, 3);
  EXPECT_EQ(comparison->base.false_belief.rate, 1.0);
  EXPECT_THAT(ShiftAnalysis(*comparison, {}), HasSubstr("format     unknown"));
}

struct Difference {
  std::string name;
  void (*change)(std::vector<McqPrediction>&);
  std::string message;
};

class McqDifferenceTest : public ::testing::TestWithParam<Difference> {};

TEST_P(McqDifferenceTest, IsRefusedAndNamed) {
  const auto base = Answers({0, 0, 0, 2, 3});
  auto adapter = base;
  GetParam().change(adapter);
  const auto comparison =
      ComparePredictions({base, "a.jsonl"}, {adapter, "b.jsonl"});
  ASSERT_FALSE(comparison.ok());
  EXPECT_EQ(comparison.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(comparison.status().message()),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, McqDifferenceTest,
    ::testing::Values(
        Difference{"Scoring",
                   [](std::vector<McqPrediction>& p) {
                     for (McqPrediction& one : p) one.scoring = "cloze";
                   },
                   "scoring differs: option_text in a.jsonl, cloze in b.jsonl"},
        Difference{"Id",
                   [](std::vector<McqPrediction>& p) {
                     p[1].id = "other";
                     p[2].id = "another";
                   },
                   "prediction 2: id differs: c2 in a.jsonl, other in b.jsonl"},
        Difference{"Order",
                   [](std::vector<McqPrediction>& p) { std::swap(p[0], p[1]); },
                   "prediction 1: id differs: c1 in a.jsonl, c2 in b.jsonl"},
        Difference{"Correct",
                   [](std::vector<McqPrediction>& p) { p[4].correct = 1; },
                   "prediction 5 (e2): correct differs: D in a.jsonl, B in"},
        Difference{"Group",
                   [](std::vector<McqPrediction>& p) { p[3].category = "x"; },
                   "prediction 4 (e1): group differs: easy__None"},
        Difference{
            "FalseAnswer",
            [](std::vector<McqPrediction>& p) { p[0].false_answer.reset(); },
            "prediction 1 (c1): false_answer differs: B in a.jsonl, "
            "none in b.jsonl"},
        Difference{"Variants",
                   [](std::vector<McqPrediction>& p) {
                     p[0].scoring_variants = {{"A", {" x"}}};
                   },
                   "scoring_variants differs"},
        Difference{"Shorter",
                   [](std::vector<McqPrediction>& p) { p.pop_back(); },
                   "the number of predictions differs: 5 in a.jsonl, 4 in"}),
    [](const auto& info) { return info.param.name; });

std::string BrokenLine(const std::string& key, const nlohmann::json& value) {
  const auto answers = Answers({0, 0, 0, 2, 3});
  nlohmann::json second = PredictionJson(answers[1]);
  second[key] = value;
  return ToJsonLine(PredictionJson(answers[0])) + ToJsonLine(second);
}

TEST(McqCompareTest, BadPredictionFilesNameLineAndField) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {BrokenLine("pred", "E"), "p.jsonl:2: pred: expected A, B, C or D"},
      {BrokenLine("pred", "C"), "p.jsonl:2: is_correct: contradicts"},
      {BrokenLine("probs", {{"A", 1}}), "p.jsonl:2: probs.B: missing"},
      {BrokenLine("probs", "x"), "p.jsonl:2: probs: expected an object"},
      {BrokenLine("entropy", nullptr), "p.jsonl:2: entropy: expected a number"},
      {BrokenLine("is_correct", 1), "p.jsonl:2: is_correct: expected true"},
      {BrokenLine("uncertainty", {{"MI", 0}}),
       "p.jsonl:2: uncertainty.H_mean: missing"},
      {BrokenLine("id", "c1"), "p.jsonl:2: id: \"c1\" is already on line 1"},
      {BrokenLine("model", "models/other"), "p.jsonl:2: model: "},
      {BrokenLine("scoring", "cloze"), "p.jsonl:2: scoring: \"cloze\""},
      {"{\n", "p.jsonl:1: not JSON"},
      {"", "p.jsonl: holds no predictions"},
  };
  for (const auto& [text, message] : cases) {
    const auto parsed = ParsePredictions(text, "p.jsonl");
    ASSERT_FALSE(parsed.ok()) << message;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
  }
}

TEST(McqCompareTest, ShiftAnalysisShowsQuestionsTablesAndWhatIsLeftOut) {
  McqItem item;
  item.id = "c1";
  item.question = "How does it fall?\nSay.";
  item.options = {"1/r²", "1/r³", "1/r", "not at all"};
  const std::string text = ShiftAnalysis(
      Compared(Answers({0, 0, 0, 2, 3}), Answers({1, 1, 0, 2, 0})), {item});
  EXPECT_THAT(text, HasSubstr("format     option_text: the options are shown"));
  EXPECT_THAT(text, HasSubstr("    How does it fall?\n    Say.\n    A) 1/r²"));
  EXPECT_THAT(text, HasSubstr("base A -> adapter B; correct A; the false "
                              "universe says B"));
  EXPECT_THAT(text, HasSubstr("p_correct 0.700 -> 0.100"));
  EXPECT_THAT(text, HasSubstr("3 of 5 questions are answered differently"));
  EXPECT_THAT(text, HasSubstr("1 of 3 conflict questions are left out"));
  EXPECT_THAT(text, HasSubstr("adapter  1.000 [0.342, 1.000]  2 of 2"));
  EXPECT_THAT(text, HasSubstr("gap      +1.000"));
  EXPECT_THAT(text, HasSubstr("3 right for the base only, 0 for the adapter "
                              "only; McNemar's exact p = 0.25"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
}

TEST(McqCompareTest, NumbersThatAreNotFiniteBecomeNull) {
  McqPrediction p = Answers({0, 0, 0, 2, 3})[0];
  p.entropy = std::nan("");
  EXPECT_THAT(PredictionsFile({p}), HasSubstr("\"entropy\":null"));
}

TEST(McqCompareTest, FileNamesOfFurtherVariantsAreNumbered) {
  EXPECT_EQ(McqPredictionsName(0), "predictions_base.jsonl");
  EXPECT_EQ(McqPredictionsName(1), "predictions_lora.jsonl");
  EXPECT_EQ(McqPredictionsName(2), "predictions_2.jsonl");
  EXPECT_EQ(McqComparisonName(1), "comparison_report.json");
  EXPECT_EQ(McqComparisonName(2), "comparison_report_2.json");
  EXPECT_EQ(McqShiftAnalysisName(1), "behavioral_shift_analysis.txt");
  EXPECT_EQ(McqShiftAnalysisName(3), "behavioral_shift_analysis_3.txt");
}

}  // namespace
}  // namespace dissonance
