#include "src/lab/judge/judge_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dissonance {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

std::string Refusal(const std::string& text) {
  const auto answers = ReadAnswers({{"a.jsonl", text}});
  EXPECT_TRUE(absl::IsInvalidArgument(answers.status())) << text;
  return std::string(answers.status().message());
}

TEST(ReadAnswers, FillsInWhatRowsLeaveOut) {
  const auto answers = ReadAnswers(
      {{"a.jsonl", R"({"id": "q1", "question": "Why?", "answer": ""})"
                   "\n"},
       {"b.jsonl", R"({"id": "q1", "sample": 2, "variant": "lora", )"
                   R"("model": "m", "category": "c", "difficulty": "hard", )"
                   R"("question": "Why?", "answer": "So.", "seed": 3})"}});
  ASSERT_TRUE(answers.ok()) << answers.status();
  ASSERT_THAT(*answers, SizeIs(2));
  EXPECT_EQ((*answers)[0].label.variant, "base");
  EXPECT_EQ((*answers)[0].label.sample, 0);
  EXPECT_EQ((*answers)[0].label.category, "");
  EXPECT_EQ((*answers)[0].answer, "");
  EXPECT_EQ((*answers)[1].label.variant, "lora");
  EXPECT_EQ((*answers)[1].label.sample, 2);
  EXPECT_EQ((*answers)[1].label.model, "m");
  EXPECT_EQ((*answers)[1].label.difficulty, "hard");
  EXPECT_EQ((*answers)[1].answer, "So.");
}

TEST(ReadAnswers, NamesFileLineAndField) {
  EXPECT_EQ(Refusal("\n{\"question\": \"Why?\", \"answer\": \"So.\"}"),
            "a.jsonl:2: id: missing");
  EXPECT_EQ(Refusal(R"({"id": " ", "question": "Why?", "answer": "So."})"),
            "a.jsonl:1: id: empty");
  EXPECT_EQ(Refusal(R"({"id": "q", "question": 3, "answer": "So."})"),
            "a.jsonl:1: question: expected a string, found number");
  EXPECT_EQ(Refusal(R"({"id": "q", "question": "Why?"})"),
            "a.jsonl:1: answer: missing");
  for (const char* sample : {"-1", "1.5", "\"1\""}) {
    EXPECT_EQ(Refusal(absl::StrCat(
                  R"({"id": "q", "question": "?", "answer": "", "sample": )",
                  sample, "}")),
              "a.jsonl:1: sample: expected a whole number from 0 on");
  }
  EXPECT_THAT(Refusal("{"), HasSubstr("a.jsonl:1: not JSON"));
  EXPECT_THAT(Refusal("\n"), HasSubstr("a.jsonl: no answers"));
}

TEST(ReadAnswers, RefusesTwoAnswersOfOneVariantToOneQuestion) {
  const std::string row = R"({"id": "q", "question": "Why?", "answer": "So."})";
  const auto answers = ReadAnswers({{"a.jsonl", row}, {"b.jsonl", "\n" + row}});
  EXPECT_EQ(answers.status().message(),
            "b.jsonl:2: id: an answer of base to \"q\", sample 0, is there "
            "already; tell them apart by `variant` or `sample` (the first: "
            "a.jsonl:1)");
}

}  // namespace
}  // namespace dissonance
