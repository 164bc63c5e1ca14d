// The most memory that a process has held since each of several trainings
// began. The system tells one peak, which is forgotten for all of them when
// one begins; what it was until then is kept here. Thread safe.
//
//   PeakMemory peaks([] { return PeakDeviceBytes(at::kCPU); },
//                    [] { ForgetPeak(at::kCPU); });
//   PeakMemory::Watch watch(peaks);
//   watch.bytes();
#ifndef DISSONANCE_SERVER_WORKER_PEAK_MEMORY_H_
#define DISSONANCE_SERVER_WORKER_PEAK_MEMORY_H_

#include <cstdint>
#include <functional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

class PeakMemory {
 public:
  // `read` tells the peak since it began or since `forget`; 0: unknown.
  PeakMemory(std::function<int64_t()> read, std::function<void()> forget)
      : read_(std::move(read)), forget_(std::move(forget)) {}

  // Begins now. Borrows the peaks.
  class Watch {
   public:
    explicit Watch(PeakMemory& peaks);
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();

    int64_t bytes() const;

   private:
    friend class PeakMemory;
    PeakMemory& peaks_;
    int64_t forgotten_ = 0;  // the most of what it was; under peaks_.mutex_
  };

 private:
  const std::function<int64_t()> read_;
  const std::function<void()> forget_;
  absl::Mutex mutex_;
  std::set<Watch*> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PEAK_MEMORY_H_
