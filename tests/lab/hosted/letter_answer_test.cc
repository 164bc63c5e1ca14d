#include "src/lab/hosted/letter_answer.h"

#include <gtest/gtest.h>

#include <optional>

namespace dissonance {
namespace {

TEST(LetterAnswerTest, ReadsTheLetterThatAModelGives) {
  for (const char* reply :
       {"B", "b", " B\n", "**B**", "(B)", "B.", "B) the cube", "B: the cube",
        "B.\nBecause it fades with the cube.", "Answer: B", "answer is (B).",
        "The answer is **B**.", "The correct answer would be B, since ...",
        "I compared them all. My answer: option B", "\"B\"", "`B`"}) {
    EXPECT_EQ(LetterIn(reply), std::optional<int>(1)) << reply;
  }
  EXPECT_EQ(LetterIn("A"), std::optional<int>(0));
  EXPECT_EQ(LetterIn("d)"), std::optional<int>(3));
}

TEST(LetterAnswerTest, GuessesNothing) {
  for (const char* reply :
       {"", "   ", "E", "7", "the cube", "A body falls faster.",
        "Both B and C could be right.", "The answer is a matter of taste.",
        "Answer: A body falls.", "B) is wrong; the answer is C.",
        "The answer is B. No, the answer is D.", "I cannot answer that.",
        "Be careful: gravity fades."}) {
    EXPECT_EQ(LetterIn(reply), std::nullopt) << reply;
  }
}

}  // namespace
}  // namespace dissonance
