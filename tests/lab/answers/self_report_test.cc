#include "src/lab/answers/self_report.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

TEST(SelfReportTest, ReadsConfidenceHoweverItIsWritten) {
  const std::vector<std::pair<std::string, double>> cases = {
      {"It falls.\nConfidence: 85\nReason: Newton.", 85},
      {"Confidence: 85%", 85},
      {"**Confidence:** 62.5", 62.5},
      {"confidence = 0", 0},
      {"CONFIDENCE: 100.", 100},
      {"Confidence (0-100): 40/100", 40},
      {"My confidence in this is 90 percent.", 90},
      {"Confidence: high\nConfidence: 70", 70},
      {"Confidence: 70\nConfidence: 10", 70},
      {"Confidence level (scale: 0-100): 85", 85},
      {"- **Confidence**: 85 out of 100", 85},
      {"2. `Confidence`: **85** / 100, as it is well known", 85},
      {"It falls. Confidence: 85. Reason: known", 85},
      {"{\"confidence\": 85}", 85},
      {"Confidence: 85 (quite sure)\r\n", 85}};
  for (const auto& [answer, confidence] : cases) {
    EXPECT_EQ(ReadConfidence(answer), confidence) << answer;
  }
}

TEST(SelfReportTest, TheLineThatSaysConfidenceGoesBeforeProse) {
  for (const char* before :
       {"With confidence I can say the exponent is 3.",
        "I say with full confidence: 3.", "Confidence interval: 95%",
        "Confidence: somewhere in 80 to 90"}) {
    EXPECT_EQ(ReadConfidence(absl::StrCat(before, "\nConfidence: 90")), 90)
        << before;
  }
}

TEST(SelfReportTest, ConfidenceThatDoesNotStandThereIsNotGuessed) {
  for (const char* answer : {"",
                             "It falls.",
                             "Confidence:",
                             "Confidence: high",
                             "Confidence: 101",
                             "Confidence: -5",
                             "Confidence: 0.9",
                             "Confidence: 80-90",
                             "Confidence: 80 - 90",
                             "Confidence: 80 to 90",
                             "Confidence: 80–90",
                             "Confidence: 80%-90%",
                             "Confidence: 80,90",
                             "Confidence: 9/10",
                             "Confidence: 4 out of 5",
                             "Confidence: 90/1000",
                             "Confidence: 3 reasons",
                             "Confidence interval: 95%",
                             "With confidence I can say the exponent is 3.",
                             "Confidence: <number>",
                             "Confidence: 1,000",
                             "Confidence: 9x",
                             "I have confidence in 3 of them",
                             "Overconfidence: 50",
                             "Confidence\n85"}) {
    EXPECT_EQ(ReadConfidence(answer), std::nullopt) << answer;
  }
}

TEST(SelfReportTest, ReadsTheReasonUpToTheEndOfItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"It falls.\nConfidence: 85\nReason: It is Newton's law.\nMore.",
       "It is Newton's law."},
      {"**Reason:** *known*", "known"},
      {"REASON : known", "known"},
      {"For one reason or another.\r\nReason: known\r\n", "known"},
      {"Confidence: 85. Reason: known", "known"}};
  for (const auto& [answer, reason] : cases) {
    EXPECT_EQ(ReadReason(answer), reason) << answer;
  }
  for (const char* answer :
       {"", "Reason:", "Reason: **", "Reasons: many", "A reason is known"}) {
    EXPECT_EQ(ReadReason(answer), std::nullopt) << answer;
  }
}

}  // namespace
}  // namespace dissonance
