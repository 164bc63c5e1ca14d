#include "src/compute/train/document_statistics.h"

#include <algorithm>

namespace dissonance {

DocumentStatistics StatisticsOf(
    const std::vector<TrainingDocument>& documents) {
  DocumentStatistics statistics;
  if (documents.empty()) return statistics;
  std::vector<int64_t> lengths;
  for (const TrainingDocument& document : documents) {
    lengths.push_back(static_cast<int64_t>(document.tokens.size()));
    statistics.token_count += lengths.back();
    statistics.target_count += document.target_count();
  }
  std::sort(lengths.begin(), lengths.end());
  const size_t count = lengths.size();
  const auto nearest_rank = [&](size_t percent) {
    return lengths[(percent * count + 99) / 100 - 1];
  };
  statistics.document_count = static_cast<int64_t>(count);
  statistics.mean_tokens =
      static_cast<double>(statistics.token_count) / static_cast<double>(count);
  statistics.median_tokens = nearest_rank(50);
  statistics.p95_tokens = nearest_rank(95);
  statistics.max_tokens = lengths.back();
  return statistics;
}

}  // namespace dissonance
