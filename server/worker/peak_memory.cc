#include "server/worker/peak_memory.h"

#include <algorithm>

namespace dissonance {

PeakMemory::Watch::Watch(PeakMemory& peaks) : peaks_(peaks) {
  const absl::MutexLock lock(&peaks_.mutex_);
  const int64_t peak = peaks_.watches_.empty() ? 0 : peaks_.read_();
  for (Watch* other : peaks_.watches_) {
    other->forgotten_ = std::max(other->forgotten_, peak);
  }
  peaks_.forget_();
  peaks_.watches_.insert(this);
}

PeakMemory::Watch::~Watch() {
  const absl::MutexLock lock(&peaks_.mutex_);
  peaks_.watches_.erase(this);
}

int64_t PeakMemory::Watch::bytes() const {
  const absl::MutexLock lock(&peaks_.mutex_);
  return std::max(forgotten_, peaks_.read_());
}

}  // namespace dissonance
