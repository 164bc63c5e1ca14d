#include "src/compute/train/rate_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dissonance {
namespace {

double PartOf(int64_t part, int64_t whole) {
  return static_cast<double>(part) /
         static_cast<double>(std::max<int64_t>(whole, 1));
}

// What the rate is multiplied by.
double FactorAt(const TrainingOptions& options, int64_t step,
                int64_t step_count) {
  const int64_t warmup = options.warmup_step_count;
  if (step < warmup) return PartOf(step, warmup);
  switch (options.schedule) {
    case RateSchedule::kLinear:
      return std::max(0.0, PartOf(step_count - step, step_count - warmup));
    case RateSchedule::kCosine: {
      const double progress = PartOf(step - warmup, step_count - warmup);
      return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
    case RateSchedule::kConstant:
      break;
  }
  return 1.0;
}

}  // namespace

double LearningRate(const TrainingOptions& options, int64_t step_count,
                    int64_t step) {
  return options.learning_rate * FactorAt(options, step, step_count);
}

}  // namespace dissonance
