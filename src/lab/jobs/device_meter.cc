#include "src/lab/jobs/device_meter.h"

#include <utility>

namespace dissonance {

void DeviceMeter::Advance() {
  const absl::Duration now = clock_.Monotonic();
  if (call_count_ > 0) {
    share_ +=
        absl::ToDoubleSeconds(now - last_) / static_cast<double>(call_count_);
  }
  last_ = now;
}

double DeviceMeter::Begin() {
  const absl::MutexLock lock(&mutex_);
  Advance();
  ++call_count_;
  return share_;
}

void DeviceMeter::End() {
  const absl::MutexLock lock(&mutex_);
  Advance();
  --call_count_;
}

double DeviceMeter::Now() {
  const absl::MutexLock lock(&mutex_);
  Advance();
  return share_;
}

void DeviceSpend::Add(double device_seconds, int64_t token_count) {
  const absl::MutexLock lock(&mutex_);
  amount_.device_seconds += device_seconds;
  amount_.token_count += token_count;
}

DeviceSpend::Amount DeviceSpend::Take() {
  const absl::MutexLock lock(&mutex_);
  return std::exchange(amount_, {});
}

}  // namespace dissonance
