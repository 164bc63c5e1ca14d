// A stream of the public API from within its process, read by the thread that
// answers a request over HTTP, and cancelled when its client goes away. Not
// thread safe.
//
//   LocalStream<v1::WatchJobResponse> stream(http);
//   RETURN_IF_ERROR(stream.Start(calls, [&](auto& channel, auto* context,
//                                           auto* reactor) { ... }));
//   while (stream.Next()) Use(stream.message());
//   return stream.end();
#ifndef DISSONANCE_SERVER_CONTROL_LOCAL_STREAM_H_
#define DISSONANCE_SERVER_CONTROL_LOCAL_STREAM_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "server/control/grpc_status.h"
#include "server/control/http_server.h"
#include "server/control/local_calls.h"
#include "server/control/worker_stream.h"
#include "src/base/status_macros.h"

namespace dissonance {

// How often it is looked whether an HTTP client is there still.
inline constexpr absl::Duration kGonePoll = absl::Milliseconds(20);

template <typename Message>
class LocalStream {
 public:
  // With the request's token.
  explicit LocalStream(const HttpRequest& http)
      : is_gone_(http.is_gone), stream_({}, CallPriority::kInteractive) {
    stream_.context()->AddMetadata("authorization", http.authorization);
  }
  // Cancels what goes on still.
  ~LocalStream() {
    if (!is_open_) return;
    stream_.Cancel();
    while (*stream_.AwaitRead(absl::InfiniteDuration())) stream_.ReadNext();
    stream_.Finish();
  }
  LocalStream(const LocalStream&) = delete;
  LocalStream& operator=(const LocalStream&) = delete;

  // Once. `begin` makes the call by a stub that lives as long as this object.
  absl::Status Start(
      LocalCalls& calls,
      absl::FunctionRef<void(const std::shared_ptr<grpc::Channel>& channel,
                             grpc::ClientContext* context,
                             grpc::ClientReadReactor<Message>* reactor)>
          begin) {
    RETURN_IF_ERROR(
        calls.Begin([&](const std::shared_ptr<grpc::Channel>& channel) {
          begin(channel, stream_.context(), &stream_);
          stream_.Start();
        }));
    is_open_ = true;
    return absl::OkStatus();
  }

  // Waits for the next message; false at the end, of which end() tells.
  bool Next() {
    if (!is_open_) return false;
    if (std::exchange(has_message_, false)) stream_.ReadNext();
    bool is_cancelled = false;
    while (true) {
      // Also where messages come so fast that none is waited for.
      if (!is_cancelled && is_gone_()) {
        is_cancelled = true;
        stream_.Cancel();
      }
      const std::optional<bool> read = stream_.AwaitRead(
          is_cancelled ? absl::InfiniteDuration() : kGonePoll);
      if (!read.has_value()) continue;
      if (*read) return has_message_ = true;
      is_open_ = false;
      end_ = FromGrpc(stream_.Finish());
      return false;
    }
  }

  // REQUIRES: Next() was true.
  const Message& message() const { return stream_.message(); }
  // OK until it has ended.
  const absl::Status& end() const { return end_; }

 private:
  const std::function<bool()> is_gone_;
  WorkerStream<Message> stream_;
  bool is_open_ = false;      // started and not finished
  bool has_message_ = false;  // of which the next takes the place
  absl::Status end_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LOCAL_STREAM_H_
