// The learning rate of each step: what transformers'
// get_linear_schedule_with_warmup, get_cosine_schedule_with_warmup and
// get_constant_schedule_with_warmup give. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_RATE_SCHEDULE_H_
#define DISSONANCE_COMPUTE_TRAIN_RATE_SCHEDULE_H_

#include <cstdint>

#include "src/compute/train/training_options.h"

namespace dissonance {

// The rate of step `step`, from 0, of `step_count`: rises in warmup_step_count
// equal parts from 0, then follows the schedule; linear and cosine would reach
// 0 at step_count.
double LearningRate(const TrainingOptions& options, int64_t step_count,
                    int64_t step);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_RATE_SCHEDULE_H_
