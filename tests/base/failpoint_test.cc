#include "src/base/failpoint.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <csignal>

namespace dissonance {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

// Reaches "a" `a_count` times and "b" once in this process, then exits.
[[noreturn]] void Reach(const char* failpoint, int a_count) {
  if (failpoint != nullptr) ::setenv("DISSONANCE_FAILPOINT", failpoint, 1);
  for (int i = 0; i < a_count; ++i) Failpoint("a");
  Failpoint("b");
  std::_Exit(7);
}

TEST(FailpointDeathTest, DoesNothingWithoutTheVariable) {
  EXPECT_EXIT(Reach(nullptr, 3), ExitedWithCode(7), "");
}

TEST(FailpointDeathTest, KillsWhereItsNameIsReached) {
  EXPECT_EXIT(Reach("a", 1), KilledBySignal(SIGKILL), "");
}

TEST(FailpointDeathTest, LeavesOtherNamesAlone) {
  EXPECT_EXIT(Reach("aa", 1), ExitedWithCode(7), "");
  EXPECT_EXIT(Reach("", 1), ExitedWithCode(7), "");
}

TEST(FailpointDeathTest, KillsAtTheGivenCount) {
  EXPECT_EXIT(Reach("a:3", 2), ExitedWithCode(7), "");
  EXPECT_EXIT(Reach("a:3", 3), KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace dissonance
