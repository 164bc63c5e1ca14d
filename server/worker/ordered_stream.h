// A server stream of numbered units (an input, or an input by a variant) that
// are computed together and sent in order: what comes early waits for its
// turn, and its unit computes no further while too much waits. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_ORDERED_STREAM_H_
#define DISSONANCE_SERVER_WORKER_ORDERED_STREAM_H_

#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/worker/stream_call.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

template <typename Response>
class OrderedStream : public StreamCall<Response> {
 public:
  using typename StreamCall<Response>::Fill;

  explicit OrderedStream(Engine& engine)
      : StreamCall<Response>(engine), engine_(engine) {}

  // Whether a unit, counted from 0, may compute more.
  bool HasRoom(int64_t unit) const ABSL_LOCKS_EXCLUDED(order_mutex_) {
    const absl::MutexLock lock(&order_mutex_);
    return unit == current_ ? this->has_room()
                            : early_bytes_ < kStreamQueueBytes;
  }

  void SendOf(int64_t unit, int64_t bytes, Fill fill)
      ABSL_LOCKS_EXCLUDED(order_mutex_) {
    const absl::MutexLock lock(&order_mutex_);
    if (unit == current_) {
      this->Send(bytes, std::move(fill));
      return;
    }
    units_[unit].early.push_back({bytes, std::move(fill)});
    early_bytes_ += bytes;
  }
  void SendOf(int64_t unit, Response response)
      ABSL_LOCKS_EXCLUDED(order_mutex_) {
    const auto bytes = static_cast<int64_t>(response.ByteSizeLong());
    SendOf(unit, bytes, [own = std::move(response)](Response& to) mutable {
      to.Swap(&own);
      return absl::OkStatus();
    });
  }

  // Bytes that units hold, not yet sent, became so many more or less: counts
  // as what came early.
  void CountHeld(int64_t bytes) ABSL_LOCKS_EXCLUDED(order_mutex_) {
    const absl::MutexLock lock(&order_mutex_);
    early_bytes_ += bytes;
  }

  // Nothing more comes from the unit.
  void Complete(int64_t unit) ABSL_LOCKS_EXCLUDED(order_mutex_) {
    {
      const absl::MutexLock lock(&order_mutex_);
      units_[unit].is_complete = true;
      while (units_.contains(current_) && units_[current_].is_complete) {
        units_.erase(current_++);
        for (Early& message : units_[current_].early) {
          early_bytes_ -= message.bytes;
          this->Send(message.bytes, std::move(message.fill));
        }
        units_[current_].early.clear();
      }
    }
    engine_.Wake();
  }

 protected:
  ~OrderedStream() override = default;

 private:
  struct Early {
    int64_t bytes = 0;
    Fill fill = nullptr;
  };
  struct Unit {
    std::deque<Early> early = {};
    bool is_complete = false;
  };

  Engine& engine_;
  // Taken before the stream's own.
  mutable absl::Mutex order_mutex_;
  int64_t current_ ABSL_GUARDED_BY(order_mutex_) = 0;
  int64_t early_bytes_ ABSL_GUARDED_BY(order_mutex_) = 0;
  std::map<int64_t, Unit> units_ ABSL_GUARDED_BY(order_mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ORDERED_STREAM_H_
