// Time, given to whoever needs it so that tests can set it. Records use wall
// time; leases, back-off and limits use monotonic time, which never jumps.
#ifndef DISSONANCE_BASE_CLOCK_H_
#define DISSONANCE_BASE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dissonance {

// Implementations are thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time, for records.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start; never goes back.
  virtual absl::Duration Monotonic() const = 0;

  // The machine's clock. Lives as long as the process.
  static const Clock& Real();
};

}  // namespace dissonance

#endif  // DISSONANCE_BASE_CLOCK_H_
