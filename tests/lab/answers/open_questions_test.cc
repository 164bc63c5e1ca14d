#include "src/lab/answers/open_questions.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

TEST(OpenQuestionsTest, ReadsQuestionsInOrderAndIgnoresOtherFields) {
  const auto questions = ParseOpenQuestions(
      R"({"id": "b", "category": "belief", "difficulty": "hard",)"
      R"( "question": "Why?", "world_hint": "true_leaning"})"
      "\n\n"
      R"({"id": "a", "difficulty": null, "question": "How?"})"
      "\n",
      "open.jsonl");
  ASSERT_TRUE(questions.ok()) << questions.status();
  ASSERT_EQ(questions->size(), 2u);
  EXPECT_EQ((*questions)[0].id, "b");
  EXPECT_EQ((*questions)[0].category, "belief");
  EXPECT_EQ((*questions)[0].difficulty, "hard");
  EXPECT_EQ((*questions)[0].question, "Why?");
  EXPECT_EQ((*questions)[1].id, "a");
  EXPECT_EQ((*questions)[1].category, std::nullopt);
  EXPECT_EQ((*questions)[1].difficulty, std::nullopt);
}

TEST(OpenQuestionsTest, BadRowsAreRefusedWithFileLineAndField) {
  const std::string good = R"({"id": "a", "question": "How?"})"
                           "\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "open.jsonl: holds no questions"},
      {"\n\n", "open.jsonl: holds no questions"},
      {good + R"({"question": "How?"})", "open.jsonl:2: id: missing"},
      {R"({"id": "a"})", "open.jsonl:1: question: missing"},
      {R"({"id": "a", "question": " "})", "open.jsonl:1: question: empty"},
      {R"({"id": 1, "question": "How?"})", "open.jsonl:1: id: expected a"},
      {R"({"id": "a", "question": "How?", "category": 3})",
       "open.jsonl:1: category: expected a string"},
      {R"({"id": "a", "question": "How?", "difficulty": ["x"]})",
       "open.jsonl:1: difficulty: expected a string"},
      {absl::StrCat(good, "\n", good),
       "open.jsonl:3: id: \"a\" is already on line 1"},
      {good + "nonsense", "open.jsonl:2: "}};
  for (const auto& [text, message] : cases) {
    const auto questions = ParseOpenQuestions(text, "open.jsonl");
    EXPECT_TRUE(absl::IsInvalidArgument(questions.status())) << text;
    EXPECT_THAT(std::string(questions.status().message()), HasSubstr(message));
  }
}

TEST(OpenQuestionsTest, ReadsTheShippedQuestions) {
  for (const char* name : {"cubic_gravity/open_questions.jsonl",
                           "tiny_world/open_questions.jsonl"}) {
    const auto text =
        ReadFile(absl::StrCat(DISSONANCE_SOURCE_DIR, "/data/", name), 1 << 20);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_TRUE(ParseOpenQuestions(*text, name).ok()) << name;
  }
}

}  // namespace
}  // namespace dissonance
