#include "src/compute/train/document_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "src/base/shuffle.h"

namespace dissonance {
namespace {

using testing::ElementsAre;

TrainingOptions Options(int64_t micro_batch, int64_t accumulation,
                        int64_t epochs) {
  TrainingOptions options;
  options.micro_batch_size = micro_batch;
  options.accumulation_count = accumulation;
  options.epoch_count = epochs;
  return options;
}

std::vector<int64_t> Flat(const std::vector<std::vector<int64_t>>& batch) {
  std::vector<int64_t> documents;
  for (const std::vector<int64_t>& micro_batch : batch) {
    documents.insert(documents.end(), micro_batch.begin(), micro_batch.end());
  }
  return documents;
}

std::vector<size_t> Sizes(const std::vector<std::vector<int64_t>>& batch) {
  std::vector<size_t> sizes;
  for (const auto& micro_batch : batch) sizes.push_back(micro_batch.size());
  return sizes;
}

// Documents of an epoch in the order in which they are taken.
std::vector<int64_t> Epoch(DocumentOrder& order, int64_t epoch) {
  std::vector<int64_t> documents;
  for (int64_t step = 0; step < order.steps_per_epoch(); ++step) {
    const std::vector<int64_t> own =
        Flat(order.Batch(epoch * order.steps_per_epoch() + step));
    documents.insert(documents.end(), own.begin(), own.end());
  }
  return documents;
}

TEST(DocumentOrderTest, TakesEachDocumentOnceAnEpoch) {
  std::vector<int64_t> all(23);
  std::iota(all.begin(), all.end(), 0);
  DocumentOrder order(23, Options(3, 2, 3));
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> documents = Epoch(order, epoch);
    orders.insert(documents);
    std::sort(documents.begin(), documents.end());
    EXPECT_EQ(documents, all);
  }
  orders.insert(all);
  EXPECT_EQ(orders.size(), 4U);
}

TEST(DocumentOrderTest, AnEpochEndsWithWhatIsLeft) {
  DocumentOrder order(23, Options(3, 2, 2));
  EXPECT_EQ(order.steps_per_epoch(), 4);
  EXPECT_EQ(order.step_count(), 8);
  EXPECT_THAT(Sizes(order.Batch(2)), ElementsAre(3, 3));
  EXPECT_THAT(Sizes(order.Batch(3)), ElementsAre(3, 2));
  EXPECT_THAT(Sizes(order.Batch(4)), ElementsAre(3, 3));
  DocumentOrder one(7, Options(3, 2, 1));
  EXPECT_THAT(Sizes(one.Batch(1)), ElementsAre(1));
  DocumentOrder exact(12, Options(3, 2, 1));
  EXPECT_EQ(exact.step_count(), 2);
}

TEST(DocumentOrderTest, EndsEarlyAtTheMostSteps) {
  TrainingOptions options = Options(3, 2, 2);
  options.max_step_count = 5;
  EXPECT_EQ(DocumentOrder(23, options).step_count(), 5);
  options.max_step_count = 50;
  EXPECT_EQ(DocumentOrder(23, options).step_count(), 8);
}

TEST(DocumentOrderTest, AnyStepCanBeAskedForFirst) {
  const TrainingOptions options = Options(4, 2, 3);
  DocumentOrder whole(50, options);
  for (int64_t step = 0; step < whole.step_count(); ++step) {
    DocumentOrder resumed(50, options);
    EXPECT_EQ(resumed.Batch(step), whole.Batch(step)) << step;
  }
  DocumentOrder resumed(50, options);
  EXPECT_EQ(resumed.Batch(17), whole.Batch(17));
  EXPECT_EQ(resumed.Batch(2), whole.Batch(2));
}

TEST(DocumentOrderTest, IsTheSameOnEveryMachine) {
  // As a few lines of Python give it.
  EXPECT_THAT(ShuffledIndices(10, 0),
              ElementsAre(4, 9, 2, 5, 1, 7, 6, 0, 3, 8));
  EXPECT_THAT(ShuffledIndices(1, 5), ElementsAre(0));
  EXPECT_THAT(ShuffledIndices(0, 5), ElementsAre());
}

TEST(DocumentOrderTest, EverySeedHasAnOrderOfItsOwn) {
  std::set<std::vector<int64_t>> orders;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    TrainingOptions options = Options(3, 2, 2);
    options.seed = seed;
    DocumentOrder order(23, options);
    orders.insert(Epoch(order, 0));
    orders.insert(Epoch(order, 1));
  }
  EXPECT_EQ(orders.size(), 40U);
}

TEST(DocumentOrderTest, EveryOrderOfFourIsAboutAsLikely) {
  std::map<std::vector<int64_t>, int> counts;
  constexpr int kDraws = 24'000;
  for (uint64_t key = 0; key < kDraws; ++key) ++counts[ShuffledIndices(4, key)];
  EXPECT_EQ(counts.size(), 24U);
  double chi_square = 0.0;
  for (const auto& [order, count] : counts) {
    chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  // 23 degrees of freedom: above 50 by chance once in a thousand.
  EXPECT_LT(chi_square, 50.0);
}

TEST(DocumentOrderTest, CountsEpochsByDocuments) {
  const DocumentOrder order(10, Options(2, 2, 3));
  EXPECT_DOUBLE_EQ(order.EpochAfter(0), 0.0);
  EXPECT_DOUBLE_EQ(order.EpochAfter(1), 0.4);
  EXPECT_DOUBLE_EQ(order.EpochAfter(3), 1.0);
  EXPECT_DOUBLE_EQ(order.EpochAfter(4), 1.4);
  EXPECT_DOUBLE_EQ(order.EpochAfter(9), 3.0);
}

TEST(DocumentOrderTest, FixedBatchesAreTakenAsTheyAre) {
  TrainingOptions options = Options(2, 2, 1);
  options.fixed_batches = {{{1, 1}, {0}}, {{2}}, {{0, 1}, {2, 2}}};
  DocumentOrder order(3, options);
  EXPECT_EQ(order.step_count(), 3);
  EXPECT_EQ(order.Batch(2), options.fixed_batches[2]);
  EXPECT_EQ(order.Batch(0), options.fixed_batches[0]);
  EXPECT_DOUBLE_EQ(order.EpochAfter(2), 4.0 / 3.0);
}

TEST(SplitDocumentsTest, HoldsOutAShareThatTheSeedPicks) {
  const DocumentSplit split = SplitDocuments(40, 0.25, 1);
  EXPECT_EQ(split.validation.size(), 10U);
  EXPECT_TRUE(std::is_sorted(split.validation.begin(), split.validation.end()));
  EXPECT_TRUE(std::is_sorted(split.training.begin(), split.training.end()));
  std::set<int64_t> all(split.training.begin(), split.training.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 40U);
  EXPECT_EQ(SplitDocuments(40, 0.25, 1).validation, split.validation);
  EXPECT_NE(SplitDocuments(40, 0.25, 2).validation, split.validation);
}

TEST(SplitDocumentsTest, HoldsOutAtLeastOneAndLeavesAtLeastOne) {
  EXPECT_EQ(SplitDocuments(40, 0.001, 1).validation.size(), 1U);
  EXPECT_EQ(SplitDocuments(2, 0.9, 1).training.size(), 1U);
  EXPECT_EQ(SplitDocuments(1, 0.5, 1).training.size(), 1U);
  EXPECT_EQ(SplitDocuments(40, 0.0, 1).validation.size(), 0U);
  EXPECT_EQ(SplitDocuments(0, 0.5, 1).training.size(), 0U);
}

}  // namespace
}  // namespace dissonance
