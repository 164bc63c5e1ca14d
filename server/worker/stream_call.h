// A server's stream in flight: a queue of messages and one write at a time; a
// slow reader holds back only itself. Deletes itself. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_STREAM_CALL_H_
#define DISSONANCE_SERVER_WORKER_STREAM_CALL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/grpc_status.h"
#include "src/compute/engine/engine.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {

// Bytes that a stream's queue holds before its request waits.
inline constexpr int64_t kStreamQueueBytes = int64_t{4} << 20;

template <typename Response,
          typename Reactor = grpc::ServerWriteReactor<Response>>
class StreamCall : public Reactor {
 public:
  // Makes a message just before it is written. What that sends is made later,
  // by a thread of the transport. An error ends the stream instead.
  using Fill = std::function<absl::Status(Response&)>;

  // Borrows the engine, which is woken when there is room again.
  explicit StreamCall(Engine& engine) : engine_(engine) {}
  bool has_room() const { return queued_bytes_ < kStreamQueueBytes; }
  // Queues a message of about so many bytes. Does not wait.
  void Send(int64_t bytes, Fill fill) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!error_.ok()) return;
      queue_.push_back({bytes, std::move(fill)});
      queued_bytes_ += bytes;
      if (is_writing_) return;
      is_writing_ = true;
    }
    WriteNext();
  }
  void Send(Response response) ABSL_LOCKS_EXCLUDED(mutex_) {
    const auto bytes = static_cast<int64_t>(response.ByteSizeLong());
    Send(bytes, [own = std::move(response)](Response& to) mutable {
      to.Swap(&own);
      return absl::OkStatus();
    });
  }

  // Ends the stream behind what is queued. Call once; nothing is sent later
  // and the call may be gone when this returns.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    grpc::Status end;
    {
      const absl::MutexLock lock(&mutex_);
      end_ = error_.ok() ? status : error_;
      if (is_writing_) return;
      end = ToGrpc(*end_);
    }
    this->Finish(end);
  }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!ok) {
      Break(absl::CancelledError("the client reads no more"));
      return;
    }
    bool has_next = true;
    std::optional<absl::Status> end;
    {
      const absl::MutexLock lock(&mutex_);
      if (queue_.empty()) {
        has_next = is_writing_ = false;
        end = end_;
      }
    }
    if (has_next) {
      WriteNext();
    } else if (end.has_value()) {
      this->Finish(ToGrpc(*end));
    }
  }
  void OnDone() override { delete this; }

 protected:
  ~StreamCall() override = default;
  // Each message in order, before it is written. Calls do not overlap.
  virtual void OnMessage(const Response& /*message*/) {}

 private:
  struct Message {
    int64_t bytes = 0;
    Fill fill = nullptr;
  };

  // REQUIRES: is_writing_, a message in the queue, and no write in flight.
  void WriteNext() ABSL_LOCKS_EXCLUDED(mutex_) {
    Message next;
    {
      const absl::MutexLock lock(&mutex_);
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    const int64_t before = queued_bytes_.fetch_sub(next.bytes);
    current_.Clear();
    const absl::Status filled =
        CatchTorch("a message of the stream",
                   [&]() -> absl::Status { return next.fill(current_); });
    if (!filled.ok()) return Break(filled);
    OnMessage(current_);
    if (before >= kStreamQueueBytes && has_room()) engine_.Wake();
    this->StartWrite(&current_);
  }

  // Nothing more is written or computed; the stream ends with `why`.
  void Break(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mutex_) {
    this->OnCancel();  // lives on while it counts as writing
    std::optional<absl::Status> end;
    {
      const absl::MutexLock lock(&mutex_);
      error_ = why;
      is_writing_ = false;
      queue_.clear();
      queued_bytes_ = 0;
      if (end_.has_value()) end_ = end = why;
    }
    engine_.Wake();
    if (end.has_value()) this->Finish(ToGrpc(*end));
  }

  Engine& engine_;
  std::atomic<int64_t> queued_bytes_ = 0;
  Response current_;  // being written
  absl::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);  // why nothing more is written
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_STREAM_CALL_H_
