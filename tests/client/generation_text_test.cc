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

TEST(GenerationTextTest, ColoursTokensByWhatTheFirstMeterRead) {
  Generations generations({.variants = 1, .inputs = 1, .samples = 1});
  const GenerationText text(generations,
                            {.variants = {"base"}, .inputs = {"1"}});
  ASSERT_TRUE(generations.Add(Delta(0, "so")).ok());
  v1::GenerateResponse second = Delta(0, " it");
  v1::MeterReading& reading = *second.mutable_delta()->add_meters();
  reading.add_projections(-1);
  reading.add_projections(100);
  ASSERT_TRUE(generations.Add(second).ok());
  v1::GenerateResponse unseen = Delta(0, "");
  unseen.mutable_delta()->add_meters()->set_token_index(2);
  unseen.mutable_delta()->mutable_meters(0)->add_projections(1000);
  ASSERT_TRUE(generations.Add(unseen).ok());
  v1::GenerateResponse end = End(0);
  end.mutable_end()->set_text(" is");
  end.mutable_end()->add_meters()->set_token_index(1);
  end.mutable_end()->mutable_meters(0)->add_projections(3);
  // Of no token: left out.
  end.mutable_end()->add_meters()->set_token_index(3);
  end.mutable_end()->add_meters()->set_token_index(-1);
  ASSERT_TRUE(generations.Add(end).ok());
  EXPECT_EQ(text.Coloured(Heat(/*coloured=*/true), "truth"),
            "\x1b[38;5;16;48;5;117mso\x1b[0m\x1b[38;5;16;48;5;216m it\x1b[0m"
            " is\n"
            "\ntruth: \x1b[38;5;16;48;5;33m -3 \x1b[0m 1 "
            "\x1b[38;5;16;48;5;202m 5 \x1b[0m"
            " (mean and two deviations over 2 tokens shown)\n");
  EXPECT_EQ(text.Coloured(Heat(/*coloured=*/false), "truth"),
            "so it is\n\ntruth:  -3  1  5 "
            " (mean and two deviations over 2 tokens shown)\n");
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
