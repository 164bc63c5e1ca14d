#include "client/cli/generation_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;

v1::GenerateResponse At(int variant, int sample = 0) {
  v1::GenerateResponse event;
  event.set_variant_index(variant);
  event.set_sample_index(sample);
  return event;
}

v1::GenerateResponse Delta(int variant, const std::string& text,
                           int sample = 0) {
  v1::GenerateResponse event = At(variant, sample);
  event.mutable_delta()->set_text(text);
  event.mutable_delta()->add_tokens()->set_token_id(7);
  return event;
}

v1::GenerateResponse End(int variant, int sample = 0) {
  v1::GenerateResponse event = At(variant, sample);
  event.mutable_end()->set_finish_reason(v1::FINISH_REASON_STOP_TOKEN);
  return event;
}

TEST(GenerationTextTest, HoldsBackTextUntilItsTurn) {
  Generations generations({.variants = 2, .inputs = 1, .samples = 1});
  GenerationText text(generations,
                      {.variants = {"base", "cubic"}, .inputs = {"1"}});
  ASSERT_TRUE(generations.Add(Delta(1, "cube")).ok());
  EXPECT_EQ(text.Next(), "--- base ---\n");
  ASSERT_TRUE(generations.Add(Delta(0, "squ")).ok());
  EXPECT_EQ(text.Next(), "squ");
  ASSERT_TRUE(generations.Add(Delta(0, "are")).ok());
  EXPECT_EQ(text.Next(), "are");
  ASSERT_TRUE(generations.Add(End(0)).ok());
  EXPECT_EQ(text.Next(), "\n\n--- cubic ---\ncube");
  EXPECT_EQ(text.Finish(), "\n");
  EXPECT_EQ(text.Finish(), "");
  EXPECT_THAT(text.Endings(), ElementsAre("base: 2 tokens, ended by stop_token",
                                          "cubic: 1 token, cut short"));
}

TEST(GenerationTextTest, EscapesControlCharactersForATerminal) {
  Generations generations({.variants = 1, .inputs = 1, .samples = 1});
  GenerationText text(generations,
                      {.variants = {"base"}, .inputs = {"1"}, .escape = true});
  ASSERT_TRUE(generations.Add(Delta(0, "a\x1b[2J\tb\r\n")).ok());
  EXPECT_EQ(text.Next(), "a\\u001b[2J\tb\\u000d\n");
}

TEST(GenerationTextTest, PutsTheVariantsOfEachSampleSideBySide) {
  Generations generations({.variants = 2, .inputs = 1, .samples = 2});
  const GenerationText text(generations,
                            {.variants = {"base", "cubic"}, .inputs = {"1"}});
  for (int variant = 0; variant < 2; ++variant) {
    for (int sample = 0; sample < 2; ++sample) {
      const std::string said = variant == 0 ? "square" : "cube";
      ASSERT_TRUE(
          generations.Add(Delta(variant, said + std::to_string(sample), sample))
              .ok());
    }
  }
  EXPECT_EQ(text.Columns(17),
            "--- sample 0 ---\n"
            "base      cubic\n"
            "----      -----\n"
            "square0   cube0\n"
            "\n"
            "--- sample 1 ---\n"
            "base      cubic\n"
            "----      -----\n"
            "square1   cube1\n");
}

TEST(GenerationsTest, RefusesEventsThatWereNotAskedFor) {
  Generations generations({.variants = 1, .inputs = 1, .samples = 1});
  EXPECT_EQ(generations.Add(At(1)).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(generations.Add(At(-1)).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(generations.Add(At(0, 1)).code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(generations.is_complete());
}

}  // namespace
}  // namespace dissonance::cli
