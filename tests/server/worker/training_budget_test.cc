#include "server/worker/training_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace dissonance {
namespace {

using testing::HasSubstr;

constexpr int64_t kReserve = int64_t{256} << 20;

TrainingNeed Need(int64_t state, int64_t activations, int64_t longest) {
  return {.memory = {.state_bytes = state,
                     .activation_bytes = activations,
                     .longest_line = 12,
                     .longest_bytes = longest},
          .longest_tokens = 1999};
}

std::string Refusal(TrainingBudget& budget, const TrainingNeed& need) {
  const auto lease = budget.Reserve(need);
  EXPECT_EQ(lease.status().code(), absl::StatusCode::kResourceExhausted);
  return std::string(lease.status().message());
}

TEST(TrainingBudgetTest, AdmitsWhileTheSumFitsAndTakesBytesBack) {
  TrainingBudget budget(1000, [] { return std::nullopt; });
  auto first = budget.Reserve(Need(300, 200, 50));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(budget.free_bytes(), 500);
  {
    auto second = budget.Reserve(Need(100, 400, 50));
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(budget.free_bytes(), 0);
    EXPECT_THAT(
        Refusal(budget, Need(1, 0, 0)),
        HasSubstr("; 0 are free of the 1000 of worker.training_bytes, and "
                  "2 other trainings and fits hold 1000"));
  }
  EXPECT_EQ(budget.free_bytes(), 500);
  TrainingBudget::Lease moved = *std::move(first);
  EXPECT_EQ(budget.free_bytes(), 500);
  moved = {};
  EXPECT_EQ(budget.free_bytes(), 1000);
}

TEST(TrainingBudgetTest, SaysWhatHelps) {
  TrainingBudget budget(1000, [] { return std::nullopt; });
  EXPECT_THAT(Refusal(budget, Need(1001, 10, 5)), HasSubstr("a lower rank"));
  EXPECT_THAT(Refusal(budget, Need(500, 900, 600)),
              HasSubstr("the document on line 12 with 1999 tokens needs 600 "
                        "alone: set a shorter max_length_tokens"));
  EXPECT_THAT(
      Refusal(budget, Need(500, 900, 300)),
      HasSubstr(
          "training needs about 1400 bytes beside the model's weights: "
          "500 of adapter weights, gradients and moments, and 900 of the "
          "largest micro-batch; 1000 are free of the 1000 of "
          "worker.training_bytes, and 0 other trainings and fits hold 0; set a "
          "smaller micro_batch_size"));
  // Where nothing is set, nothing is named.
  TrainingBudget unlimited(0, [] { return kReserve + 1000; });
  EXPECT_THAT(Refusal(unlimited, Need(500, 900, 300)),
              HasSubstr("; 1000 are free, and 0 other trainings"));
}

TEST(TrainingBudgetTest, ProbesTakeTheirMemoryFromTheSame) {
  TrainingBudget budget(1000, [] { return std::nullopt; });
  const ProbeNeed need = {.matrix_bytes = 400,
                          .fit_bytes = 300,
                          .row_count = 5,
                          .place_count = 3,
                          .variant_count = 2};
  {
    auto lease = budget.Reserve(need);
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_EQ(budget.free_bytes(), 300);
    EXPECT_THAT(
        std::string(budget.Reserve(need).status().message()),
        HasSubstr("the fit needs about 700 bytes beside the model's weights: "
                  "400 of 5 rows at 3 places of 2 variants, and 300 of the "
                  "fits under way; 300 are free of the 1000 of "
                  "worker.training_bytes, and 1 other trainings and fits hold "
                  "700; ask for fewer blocks"));
    EXPECT_FALSE(budget.Reserve(Need(301, 0, 0)).ok());
  }
  EXPECT_EQ(budget.free_bytes(), 1000);
}

TEST(TrainingBudgetTest, WithoutALimitItIsWhatIsFreeLessAReserve) {
  std::optional<int64_t> available = kReserve + 1000;
  TrainingBudget budget(0, [&] { return available; });
  EXPECT_EQ(budget.free_bytes(), 1000);
  {
    auto lease = budget.Reserve(Need(100, 600, 50));
    ASSERT_TRUE(lease.ok()) << lease.status();
    // Nobody else gets what it is about to take.
    EXPECT_EQ(budget.free_bytes(), 300);
    // Its state is allocated by now; its activations come and go.
    available = kReserve + 900;
    lease->SetAllocated();
    EXPECT_EQ(budget.free_bytes(), 300);
    const TrainingBudget::Lease moved = *std::move(lease);
    EXPECT_EQ(budget.free_bytes(), 300);
  }
  EXPECT_EQ(budget.free_bytes(), 900);
  // One that ends before.
  EXPECT_TRUE(budget.Reserve(Need(100, 600, 50)).ok());
  EXPECT_EQ(budget.free_bytes(), 900);
  available = kReserve - 1;
  EXPECT_EQ(budget.free_bytes(), 0);
  available.reset();
  EXPECT_GT(budget.free_bytes(), int64_t{1} << 40);
}

TEST(TrainingBudgetTest, KnowsThisProcessAndMachine) {
  EXPECT_GT(AvailableDeviceBytes(at::kCPU).value_or(0), 0);
  ForgetPeak(at::kCPU);
  EXPECT_GT(PeakDeviceBytes(at::kCPU), 1 << 20);
}

}  // namespace
}  // namespace dissonance
