#include "src/base/clock.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

TEST(ClockTest, RealTellsTheSystemsTime) {
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::Real().Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

TEST(ClockTest, MonotonicNeverGoesBack) {
  absl::Duration last = Clock::Real().Monotonic();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration now = Clock::Real().Monotonic();
    ASSERT_LE(last, now);
    last = now;
  }
}

}  // namespace
}  // namespace dissonance
