// ULIDs: 26 characters of Crockford base 32, 48 bits of milliseconds since
// 1970, then 80 random bits, so that names sort by creation. Thread safe.
//
//   UlidGenerator names(Clock::Real(), /*after=*/store.NewestUlid());
//   std::string ulid = names.Next();   // "01J5ZS3Q4V..."
#ifndef DISSONANCE_LAB_JOBS_ULID_H_
#define DISSONANCE_LAB_JOBS_ULID_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "src/base/clock.h"

namespace dissonance {

// Whether `text` is a ULID as we write it: upper case, no I, L, O, U.
bool IsUlid(absl::string_view text);

class UlidGenerator {
 public:
  // The clock is borrowed. `after` is a ULID that all new ones are to follow,
  // also when the clock was set back since; or empty.
  UlidGenerator(const Clock& clock, absl::string_view after);

  // Greater than all before it. Within one millisecond, or while the clock is
  // behind, the random part counts up.
  std::string Next();

 private:
  using Bytes = std::array<uint8_t, 16>;

  const Clock& clock_;
  absl::Mutex mutex_;
  Bytes last_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_ULID_H_
