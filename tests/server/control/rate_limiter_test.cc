#include "server/control/rate_limiter.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return wall; }
  absl::Duration Monotonic() const override { return monotonic; }
  absl::Time wall = absl::FromUnixSeconds(1'700'000'000);
  absl::Duration monotonic = absl::Seconds(1000);
};

class RateLimiterTest : public ::testing::Test {
 protected:
  // Calls that come through until one does not.
  int Burst(const char* token, double rate) {
    int count = 0;
    while (limiter_.Take(token, rate) == absl::ZeroDuration()) ++count;
    return count;
  }

  FakeClock clock_;
  RateLimiter limiter_{clock_, absl::Seconds(10)};
};

TEST_F(RateLimiterTest, LetsABurstThroughAndThenSoManyASecond) {
  EXPECT_EQ(Burst("a", 2), 20);
  EXPECT_EQ(limiter_.Take("a", 2), absl::Milliseconds(500));
  clock_.monotonic += absl::Milliseconds(499);
  EXPECT_GT(limiter_.Take("a", 2), absl::ZeroDuration());
  clock_.monotonic += absl::Milliseconds(2);
  EXPECT_EQ(Burst("a", 2), 1);
  clock_.monotonic += absl::Hours(1);
  EXPECT_EQ(Burst("a", 2), 20);
}

TEST_F(RateLimiterTest, OtherTokensAreUnaffected) {
  EXPECT_EQ(Burst("a", 2), 20);
  EXPECT_EQ(Burst("b", 1), 10);
  EXPECT_EQ(limiter_.Take("c", 2), absl::ZeroDuration());
}

TEST_F(RateLimiterTest, NoRateIsNoLimitAndASlowOneIsACallAtATime) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(limiter_.Take("a", 0), absl::ZeroDuration());
  }
  EXPECT_EQ(Burst("b", 0.01), 1);
  clock_.monotonic += absl::Seconds(99);
  EXPECT_EQ(Burst("b", 0.01), 0);
  clock_.monotonic += absl::Seconds(2);
  EXPECT_EQ(Burst("b", 0.01), 1);
}

TEST_F(RateLimiterTest, ManyTokensDoNotMakeASlowOneFasterOrForgetIt) {
  EXPECT_EQ(Burst("slow", 0.01), 1);
  clock_.monotonic += absl::Seconds(20);
  for (int i = 0; i < 10'100; ++i) limiter_.Take(absl::StrCat("t", i), 1);
  EXPECT_EQ(Burst("slow", 0.01), 0);
}

TEST_F(RateLimiterTest, AJumpOfTheWallClockGivesNothingAndTakesNothing) {
  EXPECT_EQ(Burst("a", 2), 20);
  clock_.wall += absl::Hours(24);
  EXPECT_EQ(Burst("a", 2), 0);
  clock_.wall -= absl::Hours(48);
  clock_.monotonic += absl::Seconds(1);
  EXPECT_EQ(Burst("a", 2), 2);
}

}  // namespace
}  // namespace dissonance
