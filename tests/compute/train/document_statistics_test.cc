#include "src/compute/train/document_statistics.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

TrainingDocument OfLength(int64_t length) {
  TrainingDocument document;
  document.tokens.resize(static_cast<size_t>(length));
  return document;
}

TEST(DocumentStatisticsTest, CountsTokensAndTargets) {
  TrainingDocument chat = OfLength(4);
  chat.is_target = {true, false, true, true};
  const DocumentStatistics statistics =
      StatisticsOf({OfLength(10), chat, OfLength(1)});
  EXPECT_EQ(statistics.document_count, 3);
  EXPECT_EQ(statistics.token_count, 15);
  EXPECT_EQ(statistics.target_count, 9 + 2 + 0);
  EXPECT_DOUBLE_EQ(statistics.mean_tokens, 5.0);
  EXPECT_EQ(statistics.median_tokens, 4);
  EXPECT_EQ(statistics.p95_tokens, 10);
  EXPECT_EQ(statistics.max_tokens, 10);
}

TEST(DocumentStatisticsTest, PercentilesAreTheNearestRanks) {
  std::vector<TrainingDocument> documents;
  for (int64_t length = 100; length >= 1; --length) {
    documents.push_back(OfLength(length));
  }
  EXPECT_EQ(StatisticsOf(documents).median_tokens, 50);
  EXPECT_EQ(StatisticsOf(documents).p95_tokens, 95);
  documents.push_back(OfLength(1000));
  EXPECT_EQ(StatisticsOf(documents).median_tokens, 51);
  EXPECT_EQ(StatisticsOf(documents).p95_tokens, 96);
  EXPECT_EQ(StatisticsOf({OfLength(7)}).p95_tokens, 7);
}

TEST(DocumentStatisticsTest, WithoutDocumentsAllIsZero) {
  EXPECT_EQ(StatisticsOf({}).token_count, 0);
  EXPECT_EQ(StatisticsOf({}).max_tokens, 0);
}

}  // namespace
}  // namespace dissonance
