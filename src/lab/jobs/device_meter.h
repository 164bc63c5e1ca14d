// Device seconds: how much of the device each call took. At any moment the
// device's time is shared equally by the calls that are under way, so the sum
// over all calls never exceeds the time that passed. (Processor sharing; kept
// as virtual time, so beginning and ending a call takes constant time.) Thread
// safe. Borrows the clock.
//
//   DeviceMeter::Call call(meter);
//   ... the compute call ...
//   double seconds = call.Seconds();
#ifndef DISSONANCE_LAB_JOBS_DEVICE_METER_H_
#define DISSONANCE_LAB_JOBS_DEVICE_METER_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/base/clock.h"

namespace dissonance {

class DeviceMeter {
 public:
  explicit DeviceMeter(const Clock& clock)
      : clock_(clock), last_(clock.Monotonic()) {}

  // Under way from its construction to its destruction. Borrows the meter.
  class Call {
   public:
    explicit Call(DeviceMeter& meter) : meter_(meter), begin_(meter.Begin()) {}
    ~Call() { meter_.End(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // Its part so far.
    double Seconds() const { return meter_.Now() - begin_; }

   private:
    DeviceMeter& meter_;
    const double begin_;
  };

 private:
  double Begin() ABSL_LOCKS_EXCLUDED(mutex_);
  void End() ABSL_LOCKS_EXCLUDED(mutex_);
  double Now() ABSL_LOCKS_EXCLUDED(mutex_);
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  absl::Mutex mutex_;
  int64_t call_count_ ABSL_GUARDED_BY(mutex_) = 0;
  // Seconds that a call under way since the beginning would have got.
  double share_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration last_ ABSL_GUARDED_BY(mutex_);
};

// What a job or a user spent, added up by several threads. Thread safe.
class DeviceSpend {
 public:
  struct Amount {
    double device_seconds = 0;
    int64_t token_count = 0;
  };

  void Add(double device_seconds, int64_t token_count)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // What was added since the last call.
  Amount Take() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  Amount amount_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_DEVICE_METER_H_
