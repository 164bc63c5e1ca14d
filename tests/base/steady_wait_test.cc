// This program's wall clock is a day ahead of the system's, as after a jump
// that came while a thread waits: a time-out by the wall clock ends after a
// day.
#include "src/base/steady_wait.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "src/base/clock.h"

extern "C" int clock_gettime(clockid_t clock, timespec* time) {
  const auto result = ::syscall(SYS_clock_gettime, clock, time);
  constexpr time_t kDay = 24 * 3600;
  if (clock == CLOCK_REALTIME) time->tv_sec += kDay;
  return static_cast<int>(result);
}

namespace dissonance {
namespace {

TEST(SteadyCondVar, TimesOutByTheMonotonicClock) {
  absl::Mutex mutex;
  SteadyCondVar condition;
  const absl::MutexLock lock(&mutex);
  const absl::Duration begin = Clock::Real().Monotonic();
  while (condition.WaitWithTimeout(mutex, absl::Milliseconds(5))) {
  }
  EXPECT_GE(Clock::Real().Monotonic() - begin, absl::Milliseconds(5));
  EXPECT_FALSE(condition.WaitWithTimeout(mutex, -absl::Seconds(1)));
}

TEST(SteadyCondVar, ASignalEndsAWaitWithoutAnEnd) {
  absl::Mutex mutex;
  SteadyCondVar condition;
  bool is_set = false;
  std::thread setter([&] {
    const absl::MutexLock lock(&mutex);
    is_set = true;
    condition.SignalAll();
  });
  {
    const absl::MutexLock lock(&mutex);
    while (!is_set) {
      condition.WaitWithTimeout(mutex, absl::InfiniteDuration());
    }
  }
  setter.join();
}

}  // namespace
}  // namespace dissonance
