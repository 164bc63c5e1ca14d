#include "src/lab/interp/prompt_set.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lab/eval/fake_compute.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr char kQuestions[] =
    R"({"id": "q1", "category": "conflict", "world_label": "true_world",)"
    R"( "difficulty": "hard", "question": "How?", "fact": 3, "options":)"
    R"( {"A": "one", "B": "two", "C": "three", "D": "four"},)"
    R"( "correct_answer": "A", "false_answer": "B", "group": "g"})"
    "\n"
    R"({"id": "q2", "category": "control", "world_label": null,)"
    R"( "question": "What?", "options":)"
    R"( {"A": "x", "B": "y", "C": "z", "D": "w"}, "correct_answer": "C"})"
    "\n";

std::vector<v1::Variant> OneVariant() {
  std::vector<v1::Variant> variants(1);
  variants[0].set_model("models/m");
  return variants;
}

absl::StatusOr<RenderedPrompts> Render(FakeCompute& compute,
                                       const std::string& text,
                                       v1::McqScoring scoring) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(text, "q.jsonl");
  if (!set.ok()) return set.status();
  return RenderPrompts(*set, OneVariant(), scoring, compute, {});
}

std::vector<std::pair<std::string, int>> Tokens(
    const std::vector<v1::Candidate>& candidates) {
  std::vector<std::pair<std::string, int>> tokens;
  for (const v1::Candidate& each : candidates) {
    tokens.emplace_back(each.name(), each.token_id());
  }
  return tokens;
}

TEST(PromptSetTest, InputRowsKeepTheirLabelsAndGainTheOtherFields) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(
      R"({"id": "a", "prompt": "p", "labels": {"k": "v", "easy": "no"},)"
      R"( "group": "g", "easy": true, "score": 1.5, "none": null, "list": []})"
      "\n\n"
      R"({"tokens": [1, 2]})",
      "rows.jsonl");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->kind, PromptKind::kInputs);
  ASSERT_EQ(set->inputs.size(), 2u);
  EXPECT_EQ(set->inputs[0].text(), "p");
  EXPECT_EQ(set->inputs[0].group(), "g");
  EXPECT_THAT(set->inputs[0].labels(),
              UnorderedElementsAre(Pair("k", "v"), Pair("easy", "no"),
                                   Pair("score", "1.5")));
  EXPECT_EQ(set->inputs[1].id(), "3") << "the line number";
  EXPECT_THAT(set->places, ElementsAre("rows.jsonl:1", "rows.jsonl:3"));
  EXPECT_TRUE(set->questions.empty());
}

TEST(PromptSetTest, WordingsOfOneFactAreAGroupUnlessTheRowHasOne) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(
      R"({"id": "a", "prompt": "p", "fact": "gravity.law"})"
      "\n"
      R"({"id": "b", "prompt": "q", "fact": "gravity.law", "group": "g"})"
      "\n"
      R"({"id": "c", "prompt": "r"})",
      "rows.jsonl");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->inputs[0].group(), "gravity.law");
  EXPECT_EQ(set->inputs[1].group(), "g");
  EXPECT_EQ(set->inputs[2].group(), "");
}

TEST(PromptSetTest, SaysHowManyRowsNoGroupKeepsTogether) {
  const auto groups = [](const char* text) {
    return GroupsOf(*ParsePrompts(text, "rows.jsonl"));
  };
  const PromptGroups grouped = groups(R"({"prompt": "p", "group": "g"})"
                                      "\n"
                                      R"({"prompt": "q", "fact": "g"})"
                                      "\n"
                                      R"({"prompt": "r", "fact": "h"})");
  EXPECT_EQ(grouped.row_count, 3);
  EXPECT_EQ(grouped.group_count, 2);
  EXPECT_EQ(grouped.text, "3 rows in 2 groups");
  EXPECT_EQ(groups(R"({"prompt": "p", "grp": "g"})").text,
            "1 rows, no `group` and no `fact`: paraphrases may straddle folds");
  EXPECT_EQ(groups(R"({"prompt": "p", "group": "g"})"
                   "\n"
                   R"({"prompt": "q", "grp": "g"})")
                .text,
            "2 rows in 1 groups, 1 of them with no `group` and no `fact`: "
            "paraphrases of those may straddle folds");
}

TEST(PromptSetTest, ProbingPromptsAreReadAsTextOrAsTheTokensTheyHave) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(
      R"({"prompt_id": "p1", "category": "conflict",)"
      R"( "full_prompt_text": "Q?\nAnswer:", "decision_trigger": "Answer: "})"
      "\n"
      R"({"id": "p2", "category": "control", "full_prompt_text": "<s>Q",)"
      R"( "tokens": [1, 9], "decision_position": 1, "world_label": null})",
      "probe.jsonl");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->kind, PromptKind::kProbing);
  EXPECT_EQ(set->inputs[0].id(), "p1");
  EXPECT_EQ(set->inputs[0].text(), "Q?\nAnswer:");
  EXPECT_EQ(set->inputs[0].labels().at("category"), "conflict");
  EXPECT_THAT(set->inputs[1].tokens().ids(), ElementsAre(1, 9));
}

TEST(PromptSetTest, QuestionsKeepTheirItemsAndBecomeLabels) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(kQuestions, "q.jsonl");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->kind, PromptKind::kQuestions);
  ASSERT_EQ(set->questions.size(), 2u);
  EXPECT_EQ(set->inputs[0].group(), "g");
  EXPECT_THAT(
      set->inputs[0].labels(),
      UnorderedElementsAre(
          Pair("category", "conflict"), Pair("world_label", "true_world"),
          Pair("difficulty", "hard"), Pair("fact", "3"),
          Pair("correct_answer", "A"), Pair("false_answer", "B")));
  EXPECT_EQ(set->inputs[0].content_case(), v1::Input::CONTENT_NOT_SET);
}

TEST(PromptSetTest, NamesFileLineAndFieldOfWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n", "f: has no rows"},
      {R"({"id": "a"})", "f:1: has no prompt"},
      {R"({"id": "a", "prompt": "x"}
{"id": "a", "prompt": "y"})",
       "f:2: id: \"a\" is already on line 1"},
      {R"({"full_prompt_text": "x", "category": "c"})", "f:1: id: missing"},
      {R"({"prompt_id": "a", "full_prompt_text": "x"})",
       "f:1: category: missing"},
      {R"({"prompt_id": "a", "category": "c", "full_prompt_text": "x",)"
       R"( "decision_trigger": "Answer:"})",
       "f:1: decision_trigger: full_prompt_text does not end with"},
      {R"({"prompt_id": "a", "category": "c", "full_prompt_text": "x",)"
       R"( "tokens": [-1]})",
       "f:1: tokens[0]: -1 is not a token id"},
      {R"({"id": "a", "question": "x"})", "f:1: category: missing"},
  };
  for (const auto& [text, message] : cases) {
    const absl::StatusOr<PromptSet> set = ParsePrompts(text, "f");
    EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(set.status().message()), HasSubstr(message));
  }
}

TEST(PromptSetTest, QuestionsAreRenderedWithTheFirstTokensOfBothAnswers) {
  FakeCompute compute;
  const auto letters =
      Render(compute, kQuestions, v1::MCQ_SCORING_LETTER_VARIANTS);
  ASSERT_TRUE(letters.ok()) << letters.status();
  EXPECT_GT(letters->inputs[0].tokens().ids_size(), 10);
  EXPECT_THAT(Tokens(letters->candidates[0]),
              ElementsAre(Pair("true", 'A'), Pair("false", 'B')));
  EXPECT_TRUE(letters->candidates[1].empty()) << "no false answer";
}

TEST(PromptSetTest, PlainTextIsFollowedByASpaceAndAnOptionByItsText) {
  FakeCompute compute;
  compute.has_chat_template = false;
  // A token is a byte here, so that all begin with the space.
  const auto spaced =
      Render(compute, kQuestions, v1::MCQ_SCORING_LETTER_VARIANTS);
  ASSERT_TRUE(spaced.ok()) << spaced.status();
  EXPECT_TRUE(spaced->candidates[0].empty());
  EXPECT_FALSE(spaced->format.chat);
}

TEST(PromptSetTest, TheTrueAnswerOfAQuestionOfTheFalseWorldIsUnknown) {
  const absl::StatusOr<PromptSet> set = ParsePrompts(
      R"({"id": "q", "category": "conflict", "world_label": "false_world",)"
      R"( "question": "x", "options": {"A": "1", "B": "2", "C": "3",)"
      R"( "D": "4"}, "correct_answer": "A"})",
      "f");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(TrueAnswer(set->questions[0]), std::nullopt);
}

TEST(PromptSetTest, RowsThatAreNoQuestionsAskNothingOfTheWorker) {
  FakeCompute compute;
  const auto rendered = Render(compute, R"({"id": "a", "prompt": "p"})",
                               v1::MCQ_SCORING_LETTER_VARIANTS);
  ASSERT_TRUE(rendered.ok()) << rendered.status();
  EXPECT_EQ(rendered->inputs[0].text(), "p");
}

}  // namespace
}  // namespace dissonance
