// How often a token may call: a bucket for each that holds `burst` calls and
// fills at so many a second, by monotonic time. Thread safe. Borrows the clock.
//
//   absl::Duration wait = limiter.Take(caller.token, /*calls_per_second=*/50);
//   if (wait > absl::ZeroDuration()) ...   // refused: try again after it
#ifndef DISSONANCE_SERVER_CONTROL_RATE_LIMITER_H_
#define DISSONANCE_SERVER_CONTROL_RATE_LIMITER_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "src/base/clock.h"

namespace dissonance {

class RateLimiter {
 public:
  // A bucket holds what `burst` brings, at least one call.
  RateLimiter(const Clock& clock, absl::Duration burst)
      : clock_(clock), burst_(burst) {}

  // Takes a call if there is one, and returns zero; else the time until there
  // is. 0 calls a second: no limit.
  absl::Duration Take(absl::string_view token, double calls_per_second)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Bucket {
    double calls = 0;
    absl::Duration as_of;
    absl::Duration full_at;
  };

  const Clock& clock_;
  const absl::Duration burst_;
  absl::Mutex mutex_;
  std::map<std::string, Bucket, std::less<>> buckets_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_RATE_LIMITER_H_
