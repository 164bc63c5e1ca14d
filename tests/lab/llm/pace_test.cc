#include "src/lab/llm/pace.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

TEST(Pace, WithoutLimitsNothingWaits) {
  Pace pace(0, 0, absl::ZeroDuration());
  for (int i = 0; i < 1000; ++i) pace.Begin(1 << 20, absl::ZeroDuration());
  EXPECT_EQ(pace.Wait(absl::ZeroDuration()), absl::ZeroDuration());
}

TEST(Pace, RequestsOfTenSecondsMayBeginAtOnceAndThenOneBySecond) {
  Pace pace(60, 0, absl::ZeroDuration());
  absl::Duration now = absl::ZeroDuration();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(pace.Wait(now), absl::ZeroDuration()) << i;
    pace.Begin(1, now);
  }
  EXPECT_EQ(pace.Wait(now), absl::Seconds(1));
  EXPECT_EQ(pace.Wait(now + absl::Seconds(1)), absl::ZeroDuration());
}

TEST(Pace, AnIdleHourDoesNotAddUp) {
  Pace pace(60, 0, absl::ZeroDuration());
  const absl::Duration now = absl::Hours(1);
  for (int i = 0; i < 10; ++i) pace.Begin(1, now);
  EXPECT_GT(pace.Wait(now), absl::ZeroDuration());
}

TEST(Pace, ARequestLargerThanTheBucketMakesTheNextWaitForTheRest) {
  Pace pace(0, 6000, absl::ZeroDuration());  // holds 1000
  pace.Begin(3000, absl::ZeroDuration());
  EXPECT_NEAR(absl::ToDoubleSeconds(pace.Wait(absl::ZeroDuration())), 20.01,
              1e-6);
  pace.Correct(-2000, absl::ZeroDuration());
  EXPECT_NEAR(absl::ToDoubleSeconds(pace.Wait(absl::ZeroDuration())), 0.01,
              1e-6);
}

TEST(Pace, LessThanOneRequestInTenSecondsStillGetsItsTurn) {
  Pace pace(1, 0, absl::ZeroDuration());
  EXPECT_EQ(pace.Wait(absl::ZeroDuration()), absl::ZeroDuration());
  pace.Begin(1, absl::ZeroDuration());
  EXPECT_EQ(pace.Wait(absl::ZeroDuration()), absl::Minutes(1));
}

}  // namespace
}  // namespace dissonance
