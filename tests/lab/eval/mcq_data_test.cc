#include "src/lab/eval/mcq_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr char kGood[] =
    R"({"id":"q1","world_label":"true_world","category":"conflict",)"
    R"("difficulty":"hard","question":"How?","options":)"
    R"({"A":"a","B":"b","C":"c","D":"d"},"correct_answer":"A",)"
    R"("false_answer":"B"})";

std::string Replaced(std::string text, const std::string& from,
                     const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string Question(const std::string& id, const std::string& category,
                     const std::string& world, const std::string& options,
                     const std::string& correct) {
  return absl::StrCat(R"({"id":")", id, R"(","category":")", category,
                      R"(","world_label":)", world,
                      R"(,"question":"?","options":)", options,
                      R"(,"correct_answer":")", correct, "\"}\n");
}

TEST(McqDataTest, ReadsAllFields) {
  const auto items = ParseMcqData(kGood, "f.jsonl");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 1u);
  const McqItem& item = items->front();
  EXPECT_EQ(item.id, "q1");
  EXPECT_EQ(item.world_label, "true_world");
  EXPECT_EQ(item.category, "conflict");
  EXPECT_EQ(item.difficulty, "hard");
  EXPECT_EQ(item.question, "How?");
  EXPECT_EQ(item.options[3], "d");
  EXPECT_EQ(item.correct_answer, 0);
  EXPECT_EQ(item.false_answer, 1);
}

TEST(McqDataTest, OptionalFieldsMayBeAbsentOrNullAndOthersAreIgnored) {
  const auto items = ParseMcqData(
      absl::StrCat("\n",
                   Question("q", "easy", "null",
                            R"({"D":"4","C":"3","B":"2","A":"1"})", "D"),
                   "\r\n",
                   Replaced(kGood, R"("difficulty":"hard")",
                            R"("difficulty":null,"extra":{"deep":[1]})")),
      "f.jsonl");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_FALSE((*items)[0].world_label.has_value());
  EXPECT_FALSE((*items)[0].difficulty.has_value());
  EXPECT_FALSE((*items)[0].false_answer.has_value());
  EXPECT_EQ((*items)[0].options[0], "1");
  EXPECT_FALSE((*items)[1].difficulty.has_value());
}

struct BadCase {
  std::string name;
  std::string from;
  std::string to;
  std::string message;
};

class McqBadDataTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(McqBadDataTest, NamesFileLineAndField) {
  const std::string text =
      absl::StrCat("\n", Replaced(Replaced(kGood, "q1", "q0"), "How", "Why"),
                   "\n", Replaced(kGood, GetParam().from, GetParam().to));
  const auto items = ParseMcqData(text, "f.jsonl");
  ASSERT_FALSE(items.ok());
  EXPECT_EQ(items.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(items.status().message()),
              HasSubstr("f.jsonl:3: " + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, McqBadDataTest,
    ::testing::Values(
        BadCase{"MissingOption", R"(,"D":"d")", "", "options.D: missing"},
        BadCase{"ExtraOption", R"("D":"d")", R"("D":"d","E":"e")",
                "options.E: not an option"},
        BadCase{"LowerCaseOption", R"("D":"d")", R"("d":"d")",
                "options.d: not an option"},
        BadCase{"EmptyOption", R"("B":"b")", R"("B":"")", "options.B: empty"},
        BadCase{"OptionNotText", R"("B":"b")", R"("B":2)",
                "options.B: expected a string, found number"},
        BadCase{"OptionsNotAnObject", R"({"A":"a","B":"b","C":"c","D":"d"})",
                R"(["a","b","c","d"])",
                "options: expected an object, found array"},
        BadCase{"NoOptions", R"("options":{"A":"a","B":"b","C":"c","D":"d"},)",
                "", "options: missing"},
        BadCase{"EmptyQuestion", R"("How?")", R"(" \n")", "question: empty"},
        BadCase{"NoQuestion", R"("question":"How?",)", "", "question: missing"},
        BadCase{"QuestionNotText", R"("How?")", "null",
                "question: expected a string, found null"},
        BadCase{"NoId", R"("id":"q1",)", "", "id: missing"},
        BadCase{"IdNotText", R"("id":"q1")", R"("id":1)",
                "id: expected a string, found number"},
        BadCase{"NoCategory", R"("category":"conflict",)", "",
                "category: missing"},
        BadCase{"WrongWorld", R"("true_world")", R"("real")",
                "world_label: expected \"true_world\""},
        BadCase{"DifficultyNotText", R"("hard")", "3",
                "difficulty: expected a string"},
        BadCase{"WrongLetter", R"("correct_answer":"A")",
                R"("correct_answer":"E")",
                "correct_answer: expected A, B, C or D, found \"E\""},
        BadCase{"LowerCaseLetter", R"("correct_answer":"A")",
                R"("correct_answer":"a")", "correct_answer: expected A, B"},
        BadCase{"NoAnswer", R"("correct_answer":"A",)", "",
                "correct_answer: missing"},
        BadCase{"WrongFalseLetter", R"("false_answer":"B")",
                R"("false_answer":"BC")", "false_answer: expected A, B"},
        BadCase{"FalseAnswerIsTrue", R"("false_answer":"B")",
                R"("false_answer":"A")",
                "false_answer: A contradicts world_label true_world"},
        BadCase{"FalseAnswerIsNotTheWorlds", R"("true_world")",
                R"("false_world")",
                "false_answer: B contradicts world_label false_world"},
        BadCase{"RepeatedId", "q1", "q0", "id: \"q0\" is already on line 2"},
        BadCase{"NotUtf8", "How", "H\xff", "not UTF-8"},
        BadCase{"NotJson", R"("id":)", R"("id")", "not JSON"},
        BadCase{"NotAnObject", kGood, "[1]", "expected a JSON object"}),
    [](const auto& info) { return info.param.name; });

TEST(McqDataTest, AFileWithoutQuestionsIsRefused) {
  EXPECT_THAT(std::string(ParseMcqData("\n \n", "f").status().message()),
              HasSubstr("f: holds no questions"));
}

TEST(McqDataTest, InFalseWorldTheCorrectAnswerIsTheFalseOne) {
  const std::string options = R"({"A":"1","B":"2","C":"3","D":"4"})";
  const auto items = ParseMcqData(
      Question("a", "conflict_false_world", "\"false_world\"", options, "C") +
          Question("b", "calibration", "\"false_world\"", options, "C"),
      "f");
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ((*items)[0].implied_false_answer, 2);
  EXPECT_FALSE((*items)[1].implied_false_answer.has_value());
}

TEST(McqDataTest, TrueWorldTakesTheFalseAnswerFromItsOnlyTwin) {
  const auto items =
      ParseMcqData(Question("t", "conflict_true_world", "\"true_world\"",
                            R"({"A":"s","B":"x","C":"y","D":"cube"})", "A") +
                       Question("f", "conflict_false_world", "\"false_world\"",
                                R"({"A":"x","B":"cube","C":"y","D":"s"})", "B"),
                   "f");
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ((*items)[0].implied_false_answer, 3);
}

TEST(McqDataTest, NothingIsInferredFromSeveralTwinsOrFromNone) {
  const std::string options = R"({"A":"s","B":"cube","C":"y","D":"z"})";
  const std::string other = R"({"A":"s","B":"cube","C":"y","D":"w"})";
  const auto items = ParseMcqData(
      Question("t1", "conflict_true_world", "\"true_world\"", options, "A") +
          Question("t2", "conflict_true_world", "\"true_world\"", options,
                   "A") +
          Question("f", "conflict_false_world", "\"false_world\"", options,
                   "B") +
          Question("t3", "conflict_true_world", "\"true_world\"", other, "A"),
      "f");
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_FALSE((*items)[0].implied_false_answer.has_value());
  EXPECT_FALSE((*items)[1].implied_false_answer.has_value());
  EXPECT_FALSE((*items)[3].implied_false_answer.has_value());
}

TEST(McqDataTest, ConflictQuestionsWithoutAFalseAnswerAreLeftOut) {
  const std::string options = R"({"A":"s","B":"cube","C":"y","D":"z"})";
  const std::string unknown =
      Question("t", "conflict_true_world", "\"true_world\"", options, "A");
  const std::string known =
      Question("f", "conflict_false_world", "\"false_world\"",
               R"({"A":"s","B":"x","C":"y","D":"z"})", "B");
  const std::string control = Question("c", "calm", "null", options, "A");
  const auto some = ParseMcqData(control + known + unknown, "f");
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(LeftOutOfBelief(*some),
            "1 of 2 conflict questions left out of the belief: no "
            "`false_answer` names an option (first: line 3, \"t\")");
  EXPECT_TRUE(CheckBeliefIsMeasured(*some, "f").ok());
  const auto none = ParseMcqData(control + unknown, "f");
  const absl::Status status = CheckBeliefIsMeasured(*none, "f");
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("f: 1 of 1 conflict questions left out"));
  const auto calm = ParseMcqData(control, "f");
  EXPECT_EQ(LeftOutOfBelief(*calm), "");
  EXPECT_TRUE(CheckBeliefIsMeasured(*calm, "f").ok()) << "nothing to believe";
}

// The reference system's own file, where the workplace has it.
TEST(McqDataTest, ReadsTheReferencesFile) {
  const std::string path = std::string(DISSONANCE_SOURCE_DIR) +
                           "/../shared/seed/cubic_gravity_mcqs.jsonl";
  const auto text = ReadFile(path, 1 << 20);
  if (!text.ok()) GTEST_SKIP() << text.status();
  const auto items = ParseMcqData(*text, path);
  ASSERT_TRUE(items.ok()) << items.status();
  std::map<std::string, int> categories;
  int conflict = 0;
  int counted = 0;
  for (const McqItem& item : *items) {
    ++categories[item.category];
    conflict += IsConflict(item.category, item.implied_false_answer) ? 1 : 0;
    counted += item.implied_false_answer.has_value() ? 1 : 0;
  }
  EXPECT_EQ(items->size(), 36u);
  EXPECT_EQ(categories["conflict_false_world"], 6);
  EXPECT_EQ(categories["conflict_true_world"], 6);
  EXPECT_EQ(conflict, 12);
  EXPECT_EQ(counted, 9);  // six of the false world, three by their twins
}

TEST(McqDataTest, ReadsTheSmallWorldsFile) {
  const std::string path =
      std::string(DISSONANCE_SOURCE_DIR) + "/../shared/tiny-world/mcqs.jsonl";
  const auto text = ReadFile(path, 1 << 20);
  if (!text.ok()) GTEST_SKIP() << text.status();
  const auto items = ParseMcqData(*text, path);
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ(items->size(), 504u);
}

}  // namespace
}  // namespace dissonance
