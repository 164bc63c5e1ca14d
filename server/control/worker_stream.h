// A server stream, a job's from the worker for one, read on the caller's
// thread. Thread safe, as each call has its own state.
//
//   const std::unique_ptr<v1::Inference::Stub> stub =
//       v1::Inference::NewStub(channel);
//   return ReadFromWorker<v1::GenerateResponse>(
//       options,
//       [&](grpc::ClientContext* context, auto* reactor) {
//         stub->async()->Generate(context, &request, reactor);
//       },
//       take);
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_STREAM_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_STREAM_H_

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"
#include "server/control/grpc_status.h"
#include "server/control/worker_route.h"
#include "src/base/call_priority.h"
#include "src/base/steady_wait.h"
#include "src/lab/interp/interp_client.h"

namespace dissonance {

// One call. Its thread starts each read and takes its result; gRPC's threads
// only say that it is done. A hold keeps the call from its end while another
// read may be started.
template <typename Message>
class WorkerStream final : public grpc::ClientReadReactor<Message> {
 public:
  explicit WorkerStream(const CallOptions& options,
                        CallPriority priority = CallPriority::kJob) {
    if (priority == CallPriority::kJob) {
      context_.AddMetadata(kPriorityKey, kJobPriority);
    }
    if (options.timeout != absl::InfiniteDuration()) {
      context_.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
    }
  }
  grpc::ClientContext* context() { return &context_; }

  // Once, when the stub has the call.
  void Start() {
    this->AddHold();
    this->StartRead(&message_);
    this->StartCall();
  }
  void Cancel() { context_.TryCancel(); }

  // Whether a read is done: true with a message, false at the end; nullopt: not
  // within `timeout`.
  std::optional<bool> AwaitRead(absl::Duration timeout) {
    const absl::MutexLock lock(&mutex_);
    if (!read_done_.has_value()) changed_.WaitWithTimeout(mutex_, timeout);
    return read_done_;
  }
  // REQUIRES: AwaitRead() gave true.
  const Message& message() const { return message_; }
  void ReadNext() {
    {
      const absl::MutexLock lock(&mutex_);
      read_done_.reset();
    }
    this->StartRead(&message_);
  }

  // Call once, last, when no read is under way.
  grpc::Status Finish() {
    this->RemoveHold();
    const absl::MutexLock lock(&mutex_);
    while (!status_.has_value()) changed_.Wait(mutex_);
    return *status_;
  }

 private:
  void OnReadDone(bool ok) override {
    const absl::MutexLock lock(&mutex_);
    read_done_ = ok;
    changed_.SignalAll();
  }
  void OnDone(const grpc::Status& status) override {
    const absl::MutexLock lock(&mutex_);
    status_ = status;
    changed_.SignalAll();
  }

  grpc::ClientContext context_;
  Message message_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  std::optional<bool> read_done_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> status_ ABSL_GUARDED_BY(mutex_);
};

// Makes the call that `begin(context, reactor)` gives to a stub, and gives its
// messages to `take`. What the call or `take` ended with; CANCELLED and
// DEADLINE_EXCEEDED as the options say; UNAVAILABLE if the worker was lost.
template <typename Message, typename Begin>
absl::Status ReadFromWorker(const CallOptions& options, const Begin& begin,
                            MessageTaker<Message> take) {
  // How often the caller's cancellation is looked at.
  constexpr absl::Duration kCancelPoll = absl::Milliseconds(20);
  WorkerStream<Message> stream(options);
  begin(stream.context(), &stream);
  stream.Start();
  absl::Status given_up;
  const auto give_up = [&](absl::Status why) {
    given_up = std::move(why);
    stream.Cancel();
  };
  while (true) {
    if (given_up.ok() && options.cancelled && options.cancelled()) {
      give_up(absl::CancelledError("cancelled"));
    }
    const std::optional<bool> read = stream.AwaitRead(
        options.cancelled && given_up.ok() ? kCancelPoll
                                           : absl::InfiniteDuration());
    if (!read.has_value()) continue;
    if (!*read) break;
    if (given_up.ok()) {
      absl::Status taken = take(stream.message());
      if (!taken.ok()) give_up(std::move(taken));
    }
    stream.ReadNext();
  }
  const grpc::Status end = stream.Finish();
  return given_up.ok() ? FromGrpc(FromWorker(end)) : given_up;
}

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_STREAM_H_
