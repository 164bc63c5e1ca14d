// How long the documents of a training are. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_DOCUMENT_STATISTICS_H_
#define DISSONANCE_COMPUTE_TRAIN_DOCUMENT_STATISTICS_H_

#include <cstdint>
#include <vector>

#include "src/compute/train/training_options.h"

namespace dissonance {

// Zeros without documents. Median and 95th percentile by nearest rank: the
// shortest length that at least 50 % and 95 % of the documents do not exceed.
struct DocumentStatistics {
  int64_t document_count = 0;
  int64_t token_count = 0;
  int64_t target_count = 0;  // predicted in one pass
  double mean_tokens = 0.0;
  int64_t median_tokens = 0;
  int64_t p95_tokens = 0;
  int64_t max_tokens = 0;
};

DocumentStatistics StatisticsOf(const std::vector<TrainingDocument>& documents);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_DOCUMENT_STATISTICS_H_
