// A condition variable whose time-outs go by the monotonic clock. Those of
// absl::CondVar and absl::Mutex go by the wall clock: when it is set back by a
// day while a thread waits for a second, the thread waits for a day. Thread
// safe.
//
//   absl::MutexLock lock(&mutex_);
//   while (!stopping_ && wakes_.WaitWithTimeout(mutex_, absl::Seconds(1))) {
//   }
#ifndef DISSONANCE_BASE_STEADY_WAIT_H_
#define DISSONANCE_BASE_STEADY_WAIT_H_

#include <chrono>
#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dissonance {

class SteadyCondVar {
 public:
  void SignalAll() { condition_.notify_all(); }

  void Wait(absl::Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    Held held(mutex);
    condition_.wait(held);
  }

  // False when `timeout` is over, true when it was signalled, or for no reason.
  bool WaitWithTimeout(absl::Mutex& mutex, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    // Longer spans would overflow the clock.
    if (timeout > absl::Hours(24 * 365)) {
      Wait(mutex);
      return true;
    }
    Held held(mutex);
    return condition_.wait_for(held, absl::ToChronoNanoseconds(timeout)) ==
           std::cv_status::no_timeout;
  }

 private:
  // The mutex under the names that the standard library uses.
  class Held {
   public:
    explicit Held(absl::Mutex& mutex) : mutex_(mutex) {}
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex_.Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex_.Unlock(); }

   private:
    absl::Mutex& mutex_;
  };

  std::condition_variable_any condition_;
};

}  // namespace dissonance

#endif  // DISSONANCE_BASE_STEADY_WAIT_H_
