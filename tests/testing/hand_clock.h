// Time that a test moves; monotonic and wall time go together. Thread safe.
//
//   HandClock clock;
//   WorkerLeases leases(options, numbers, clock);
//   clock.Advance(absl::Seconds(5));
#ifndef DISSONANCE_TESTS_TESTING_HAND_CLOCK_H_
#define DISSONANCE_TESTS_TESTING_HAND_CLOCK_H_

#include <atomic>

#include "absl/time/time.h"
#include "src/base/clock.h"

namespace dissonance {

class HandClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + Monotonic(); }
  absl::Duration Monotonic() const override { return time_; }
  void Advance(absl::Duration span) { time_ = time_.load() + span; }

 private:
  std::atomic<absl::Duration> time_ = absl::ZeroDuration();
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_HAND_CLOCK_H_
