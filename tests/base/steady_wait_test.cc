// By which clock a wait ends is seen where it is asked of the system: this
// program has its own pthread_cond_clockwait, which notes the clock.
#include "src/base/steady_wait.h"

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "src/base/clock.h"

namespace {

constexpr clockid_t kNone = -1;
std::atomic<clockid_t> last_clock = kNone;

}  // namespace

extern "C" int pthread_cond_clockwait(pthread_cond_t* condition,
                                      pthread_mutex_t* mutex, clockid_t clock,
                                      const timespec* until) {
  using Wait =
      int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
  static const Wait wait =
      reinterpret_cast<Wait>(::dlsym(RTLD_NEXT, "pthread_cond_clockwait"));
  last_clock = clock;
  return wait(condition, mutex, clock, until);
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
  EXPECT_EQ(last_clock, CLOCK_MONOTONIC);
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
