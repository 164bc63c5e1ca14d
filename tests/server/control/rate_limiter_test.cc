#include "server/control/rate_limiter.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

// Monotonic time that a test moves; wall time that jumps.
class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + wall; }
  absl::Duration Monotonic() const override { return monotonic; }

  absl::Duration wall = absl::Hours(24 * 365 * 50);
  absl::Duration monotonic = absl::Seconds(1000);
};

class RateLimiterTest : public ::testing::Test {
 protected:
  // Takes all calls that `token` has; how many they were.
  int TakeAll(const char* token) {
    int count = 0;
    while (limiter_.Take(token, 2) == absl::ZeroDuration()) {
      if (++count > 1000) break;
    }
    return count;
  }

  FakeClock clock_;
  RateLimiter limiter_{clock_, absl::Seconds(5)};
};

TEST_F(RateLimiterTest, ABurstThenSoManyASecond) {
  EXPECT_EQ(TakeAll("a"), 10);
  EXPECT_EQ(limiter_.Take("a", 2), absl::Milliseconds(500));
  clock_.monotonic += absl::Milliseconds(1500);
  EXPECT_EQ(TakeAll("a"), 3);
  clock_.monotonic += absl::Hours(1);
  EXPECT_EQ(TakeAll("a"), 10);
}

TEST_F(RateLimiterTest, OneTokensCallsAreNotAnothers) {
  EXPECT_EQ(TakeAll("a"), 10);
  EXPECT_EQ(TakeAll("b"), 10);
}

TEST_F(RateLimiterTest, ZeroIsNoLimit) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(limiter_.Take("a", 0), absl::ZeroDuration());
  }
}

TEST_F(RateLimiterTest, AJumpOfTheWallClockGivesNothingAndTakesNothing) {
  EXPECT_EQ(TakeAll("a"), 10);
  clock_.wall += absl::Hours(24);
  EXPECT_EQ(TakeAll("a"), 0);
  clock_.wall -= absl::Hours(48);
  clock_.monotonic += absl::Seconds(1);
  EXPECT_EQ(TakeAll("a"), 2);
}

}  // namespace
}  // namespace dissonance
