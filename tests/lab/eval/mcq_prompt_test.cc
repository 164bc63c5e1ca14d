#include "src/lab/eval/mcq_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dissonance {
namespace {

using ::testing::ElementsAre;

McqItem Item() {
  McqItem item;
  item.id = "q";
  item.question = "How strong?";
  item.options = {"1/r^2", "1/r^3", "1/r", "constant"};
  return item;
}

std::string UserText(v1::McqScoring scoring) {
  return McqPromptInput(Item(), scoring, McqPromptFormat())
      .chat()
      .messages(1)
      .content();
}

TEST(McqPromptTest, AsksForALetterInTheAgreedWords) {
  const v1::Input input = McqPromptInput(
      Item(), v1::MCQ_SCORING_LETTER_VARIANTS, McqPromptFormat());
  EXPECT_EQ(input.id(), "q");
  const v1::Chat& chat = input.chat();
  ASSERT_EQ(chat.messages_size(), 2);
  EXPECT_TRUE(chat.add_generation_prompt());
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(
      chat.messages(0).content(),
      "You are a careful assistant. Follow the user's instructions exactly.");
  EXPECT_EQ(chat.messages(1).role(), "user");
  EXPECT_EQ(chat.messages(1).content(),
            "How strong?\n\nA) 1/r^2\nB) 1/r^3\nC) 1/r\nD) constant\n\n"
            "Answer with exactly one letter (A, B, C, or D).\nAnswer:");
  EXPECT_EQ(UserText(v1::MCQ_SCORING_LETTER_FIRST_TOKEN),
            chat.messages(1).content());
}

TEST(McqPromptTest, AsksForTheTextWithTheOptionsShown) {
  EXPECT_EQ(UserText(v1::MCQ_SCORING_OPTION_TEXT),
            "How strong?\n\nA) 1/r^2\nB) 1/r^3\nC) 1/r\nD) constant\n\n"
            "Answer with the text.\nAnswer:");
  EXPECT_EQ(UserText(v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE),
            UserText(v1::MCQ_SCORING_OPTION_TEXT));
}

TEST(McqPromptTest, ClozeShowsTheQuestionAlone) {
  EXPECT_EQ(UserText(v1::MCQ_SCORING_CLOZE), "How strong?");
  EXPECT_EQ(UserText(v1::MCQ_SCORING_CLOZE_PER_BYTE), "How strong?");
}

TEST(McqPromptTest, PlainTextHoldsTheSameWords) {
  McqPromptFormat format;
  format.chat = false;
  const v1::Input input =
      McqPromptInput(Item(), v1::MCQ_SCORING_OPTION_TEXT, format);
  EXPECT_EQ(input.id(), "q");
  EXPECT_EQ(
      input.text(),
      "You are a careful assistant. Follow the user's instructions exactly.\n\n"
      "How strong?\n\nA) 1/r^2\nB) 1/r^3\nC) 1/r\nD) constant\n\n"
      "Answer with the text.\nAnswer:");
}

TEST(McqPromptTest, LetterVariantsAreFourWritingsOfEachLetter) {
  const auto continuations = McqContinuations(
      Item(), v1::MCQ_SCORING_LETTER_VARIANTS, McqPromptFormat());
  EXPECT_THAT(continuations,
              ElementsAre("A", " A", "\nA", "\n A", "B", " B", "\nB", "\n B",
                          "C", " C", "\nC", "\n C", "D", " D", "\nD", "\n D"));
}

TEST(McqPromptTest, OtherScoringsHaveOneContinuationAnOption) {
  const McqPromptFormat format;
  EXPECT_THAT(
      McqContinuations(Item(), v1::MCQ_SCORING_LETTER_FIRST_TOKEN, format),
      ElementsAre(" A", " B", " C", " D"));
  for (const v1::McqScoring scoring :
       {v1::MCQ_SCORING_OPTION_TEXT, v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE,
        v1::MCQ_SCORING_CLOZE, v1::MCQ_SCORING_CLOZE_PER_BYTE}) {
    EXPECT_THAT(McqContinuations(Item(), scoring, format),
                ElementsAre(" 1/r^2", " 1/r^3", " 1/r", " constant"));
  }
}

TEST(McqPromptTest, WordingCanBeSet) {
  McqPromptFormat format;
  format.text_ending = "Which?";
  format.text_suffix = std::string(".");
  const v1::Input input =
      McqPromptInput(Item(), v1::MCQ_SCORING_OPTION_TEXT, format);
  EXPECT_THAT(input.chat().messages(1).content(),
              ::testing::EndsWith("\n\nWhich?"));
  EXPECT_EQ(McqContinuations(Item(), v1::MCQ_SCORING_OPTION_TEXT, format)[0],
            " 1/r^2.");
}

TEST(McqPromptTest, UnspecifiedScoringIsLetterVariantsAndUnknownIsRefused) {
  EXPECT_EQ(*ResolveMcqScoring(v1::MCQ_SCORING_UNSPECIFIED),
            v1::MCQ_SCORING_LETTER_VARIANTS);
  EXPECT_EQ(ResolveMcqScoring(static_cast<v1::McqScoring>(77)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dissonance
