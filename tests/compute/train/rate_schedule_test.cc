#include "src/compute/train/rate_schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <vector>

#include "nlohmann/json.hpp"

namespace dissonance {
namespace {

std::vector<double> Rates(RateSchedule schedule, int64_t warmup,
                          int64_t count) {
  TrainingOptions options;
  options.learning_rate = 1.0;
  options.schedule = schedule;
  options.warmup_step_count = warmup;
  std::vector<double> rates;
  for (int64_t step = 0; step < count; ++step) {
    rates.push_back(LearningRate(options, count, step));
  }
  return rates;
}

TEST(RateScheduleTest, GivesTransformersLinearRates) {
  std::ifstream file(std::string(DISSONANCE_SOURCE_DIR) +
                     "/tests/goldens/train_lora/case.json");
  const auto golden = nlohmann::json::parse(file);
  TrainingOptions options;
  options.learning_rate = golden["base_lr"];
  options.warmup_step_count = golden["warmup_steps"];
  const int64_t count = golden["total_steps"];
  for (int64_t step = 0; step < count; ++step) {
    EXPECT_EQ(LearningRate(options, count, step),
              golden["expected"]["wd0"]["lr"][step].get<double>());
  }
}

TEST(RateScheduleTest, CosineFallsByHalfAPeriodAfterTheWarmup) {
  const std::vector<double> rates = Rates(RateSchedule::kCosine, 2, 6);
  const std::vector<double> expected = {
      0.0, 0.5, 1.0, 0.5 + std::sqrt(0.125), 0.5, 0.5 - std::sqrt(0.125)};
  ASSERT_EQ(rates.size(), expected.size());
  for (size_t i = 0; i < rates.size(); ++i) {
    EXPECT_NEAR(rates[i], expected[i], 1e-15) << i;
  }
}

TEST(RateScheduleTest, ConstantStaysAfterTheWarmup) {
  EXPECT_EQ(Rates(RateSchedule::kConstant, 2, 4),
            (std::vector<double>{0.0, 0.5, 1.0, 1.0}));
  EXPECT_EQ(Rates(RateSchedule::kConstant, 0, 2),
            (std::vector<double>{1.0, 1.0}));
}

TEST(RateScheduleTest, AWarmupBeyondTheEndNeverGetsThere) {
  for (const RateSchedule schedule :
       {RateSchedule::kLinear, RateSchedule::kCosine,
        RateSchedule::kConstant}) {
    EXPECT_EQ(Rates(schedule, 4, 2), (std::vector<double>{0.0, 0.25}));
  }
}

}  // namespace
}  // namespace dissonance
