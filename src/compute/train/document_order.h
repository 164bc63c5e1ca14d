// Which documents each step of a training takes: all of them once an epoch, in
// an order of its own for each epoch. Any step can be asked for, so a training
// goes on anywhere. Orders follow from seed, epoch and number of documents
// alone, on every machine. O(documents) memory. Not thread safe.
//
//   DocumentOrder order(1000, options);
//   for (const std::vector<int64_t>& micro_batch : order.Batch(step)) { ... }
#ifndef DISSONANCE_COMPUTE_TRAIN_DOCUMENT_ORDER_H_
#define DISSONANCE_COMPUTE_TRAIN_DOCUMENT_ORDER_H_

#include <cstdint>
#include <vector>

#include "src/compute/train/training_options.h"

namespace dissonance {

class DocumentOrder {
 public:
  // REQUIRES: document_count, the epochs, the micro-batches' size and number
  // are at least 1; options.fixed_batches, where there are any, hold indices
  // below document_count.
  DocumentOrder(int64_t document_count, const TrainingOptions& options);

  // Each epoch ends with a step of what is left, as transformers' Trainer has
  // it: ceil(documents / (micro-batch size * accumulation)).
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t step_count() const { return step_count_; }

  // The micro-batches of a step, from 0; of the last of an epoch there may be
  // fewer, and the last of those may be short. Valid until the next call.
  // REQUIRES: step < step_count().
  const std::vector<std::vector<int64_t>>& Batch(int64_t step);

  // Passes over the documents in the first `step_count` steps.
  double EpochAfter(int64_t step_count) const;

 private:
  const int64_t document_count_;
  const int64_t micro_batch_size_;
  const int64_t step_size_;  // documents
  const uint64_t seed_;
  const std::vector<std::vector<std::vector<int64_t>>> fixed_;
  int64_t steps_per_epoch_ = 0;
  int64_t step_count_ = 0;
  int64_t epoch_ = -1;          // whose order this is:
  std::vector<int64_t> order_;  // [documents]
  std::vector<std::vector<int64_t>> batch_;
};

struct DocumentSplit {
  std::vector<int64_t> training;  // indices, ascending
  std::vector<int64_t> validation;
};

// Holds out round(fraction * document_count) documents that `seed` picks, but
// at least one if there is a fraction, and leaves at least one for training.
// REQUIRES: 0 <= fraction < 1.
DocumentSplit SplitDocuments(int64_t document_count, double fraction,
                             uint64_t seed);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_DOCUMENT_ORDER_H_
