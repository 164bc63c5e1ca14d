#include "src/lab/answers/self_report.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

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
      {"Confidence: 70\nConfidence: 10", 70}};
  for (const auto& [answer, confidence] : cases) {
    EXPECT_EQ(ReadConfidence(answer), confidence) << answer;
  }
}

TEST(SelfReportTest, ConfidenceThatDoesNotStandThereIsNotGuessed) {
  for (const char* answer :
       {"", "It falls.", "Confidence:", "Confidence: high", "Confidence: 101",
        "Confidence: -5", "Confidence: 0.9", "Confidence: 80-90",
        "Confidence: <number>", "Confidence: 1,000", "Confidence: 9x",
        "I have confidence in 3 of them", "Overconfidence: 50",
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
