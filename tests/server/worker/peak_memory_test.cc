#include "server/worker/peak_memory.h"

#include <gtest/gtest.h>

namespace dissonance {
namespace {

TEST(PeakMemoryTest, OneThatBeginsTakesNothingFromTheOthersPeak) {
  int64_t peak = 500;
  PeakMemory peaks([&] { return peak; }, [&] { peak = 100; });
  PeakMemory::Watch first(peaks);
  EXPECT_EQ(first.bytes(), 100);
  peak = 300;
  {
    PeakMemory::Watch second(peaks);
    EXPECT_EQ(first.bytes(), 300);
    EXPECT_EQ(second.bytes(), 100);
    peak = 400;
    EXPECT_EQ(first.bytes(), 400);
    EXPECT_EQ(second.bytes(), 400);
  }
  const PeakMemory::Watch third(peaks);
  EXPECT_EQ(first.bytes(), 400);
  EXPECT_EQ(third.bytes(), 100);
}

}  // namespace
}  // namespace dissonance
