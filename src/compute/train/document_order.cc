#include "src/compute/train/document_order.h"

#include <algorithm>
#include <cmath>

#include "src/base/mix.h"
#include "src/base/shuffle.h"

namespace dissonance {
namespace {

// Streams of one seed that must not be the same.
constexpr uint64_t kOrderStream = 0x6F72646572;  // "order"
constexpr uint64_t kSplitStream = 0x73706C6974;  // "split"

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

DocumentOrder::DocumentOrder(int64_t document_count,
                             const TrainingOptions& options)
    : document_count_(document_count),
      micro_batch_size_(options.micro_batch_size),
      step_size_(options.micro_batch_size * options.accumulation_count),
      seed_(options.seed),
      fixed_(options.fixed_batches) {
  steps_per_epoch_ = CeilDivide(document_count_, step_size_);
  step_count_ = fixed_.empty() ? options.epoch_count * steps_per_epoch_
                               : static_cast<int64_t>(fixed_.size());
  if (options.max_step_count > 0) {
    step_count_ = std::min(step_count_, options.max_step_count);
  }
}

const std::vector<std::vector<int64_t>>& DocumentOrder::Batch(int64_t step) {
  if (!fixed_.empty()) return fixed_[static_cast<size_t>(step)];
  const int64_t epoch = step / steps_per_epoch_;
  if (epoch != epoch_) {
    const uint64_t stream = Mix(Mix(seed_) ^ kOrderStream);
    order_ = ShuffledIndices(document_count_,
                             Mix(stream ^ static_cast<uint64_t>(epoch)));
    epoch_ = epoch;
  }
  batch_.clear();
  int64_t next = step % steps_per_epoch_ * step_size_;
  const int64_t end = std::min(next + step_size_, document_count_);
  for (; next < end; next += micro_batch_size_) {
    batch_.emplace_back(
        order_.begin() + next,
        order_.begin() + std::min(next + micro_batch_size_, end));
  }
  return batch_;
}

double DocumentOrder::EpochAfter(int64_t step_count) const {
  int64_t documents = 0;
  if (fixed_.empty()) {
    documents = step_count / steps_per_epoch_ * document_count_ +
                step_count % steps_per_epoch_ * step_size_;
  } else {
    for (int64_t step = 0; step < step_count; ++step) {
      for (const auto& micro_batch : fixed_[static_cast<size_t>(step)]) {
        documents += static_cast<int64_t>(micro_batch.size());
      }
    }
  }
  return static_cast<double>(documents) / static_cast<double>(document_count_);
}

DocumentSplit SplitDocuments(int64_t document_count, double fraction,
                             uint64_t seed) {
  int64_t held_out =
      std::llround(fraction * static_cast<double>(document_count));
  if (fraction > 0.0) held_out = std::max<int64_t>(held_out, 1);
  held_out = std::clamp<int64_t>(held_out, 0,
                                 std::max<int64_t>(document_count - 1, 0));
  const std::vector<int64_t> order =
      ShuffledIndices(document_count, Mix(Mix(seed) ^ kSplitStream));
  DocumentSplit split;
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.training.assign(order.begin() + held_out, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.training.begin(), split.training.end());
  return split;
}

}  // namespace dissonance
