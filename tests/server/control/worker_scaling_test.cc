#include "server/control/worker_scaling.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

constexpr ScalingOptions kOptions = {.least = 1,
                                     .idle_limit = absl::Minutes(10)};

constexpr WorkerLoad kAtRest = {};
constexpr WorkerLoad kStarting = {.wanted = true};
constexpr WorkerLoad kBusy = {.wanted = true, .ready = true, .call_count = 2};
constexpr WorkerLoad kIdle = {
    .wanted = true, .ready = true, .idle = absl::Minutes(10)};
constexpr WorkerLoad kIdleForAMoment = {
    .wanted = true, .ready = true, .idle = absl::Minutes(9)};

bool IsNothing(const ScalingStep& step) {
  return !step.launch.has_value() && !step.end.has_value();
}

TEST(WorkerScalingTest, OneMoreIsLaunchedWhileJobsWaitAndAllAreBusy) {
  const ScalingStep step =
      NextScalingStep({kBusy, kAtRest, kAtRest}, 1, kOptions);
  EXPECT_EQ(step.launch, 1U);
  EXPECT_FALSE(step.end.has_value());
  EXPECT_TRUE(IsNothing(NextScalingStep({kBusy, kAtRest}, 0, kOptions)));
}

TEST(WorkerScalingTest, OneThatIsOnItsWayOrFreeIsWaitedFor) {
  EXPECT_TRUE(
      IsNothing(NextScalingStep({kBusy, kStarting, kAtRest}, 9, kOptions)));
  EXPECT_TRUE(IsNothing(
      NextScalingStep({kBusy, kIdleForAMoment, kAtRest}, 9, kOptions)));
}

TEST(WorkerScalingTest, ThereAreNoMoreThanThereAre) {
  EXPECT_TRUE(IsNothing(NextScalingStep({kBusy, kBusy}, 9, kOptions)));
}

TEST(WorkerScalingTest, TheLastOfThoseThatAreIdleForLongEnds) {
  EXPECT_EQ(NextScalingStep({kIdle, kIdle, kBusy}, 0, kOptions).end, 1U);
  EXPECT_TRUE(IsNothing(NextScalingStep({kIdle, kIdle}, 1, kOptions)));
  EXPECT_TRUE(
      IsNothing(NextScalingStep({kBusy, kIdleForAMoment}, 0, kOptions)));
}

TEST(WorkerScalingTest, TheLeastRunAlways) {
  EXPECT_TRUE(IsNothing(NextScalingStep({kIdle, kAtRest}, 0, kOptions)));
  const ScalingOptions two = {.least = 2, .idle_limit = absl::Minutes(10)};
  EXPECT_EQ(NextScalingStep({kIdle, kAtRest}, 0, two).launch, 1U);
}

}  // namespace
}  // namespace dissonance
