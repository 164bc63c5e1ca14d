// Disk space held back, so that even on a full disk it can be recorded how a
// job ended. Thread safe.
//
//   SpaceReserve reserve(data_dir + "/reserve");
//   reserve.Hold();
//   if (absl::IsResourceExhausted(status) && reserve.Release()) TryAgain();
#ifndef DISSONANCE_LAB_STORAGE_SPACE_RESERVE_H_
#define DISSONANCE_LAB_STORAGE_SPACE_RESERVE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

class SpaceReserve {
 public:
  // Many times what recording one end takes.
  static constexpr int64_t kBytes = 256 << 10;

  explicit SpaceReserve(std::string path) : path_(std::move(path)) {}

  // Takes the space unless it is held. On a disk without room it stays
  // without: later calls try again.
  void Hold() ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives the space back. Returns whether there was any.
  bool Release() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string path_;
  absl::Mutex mutex_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_SPACE_RESERVE_H_
