#include "server/control/worker_training.h"

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "dissonance/internal/v1/training.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "server/control/grpc_status.h"
#include "src/base/call_priority.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"
#include "src/base/steady_wait.h"

namespace dissonance {
namespace {

using internal::v1::Training;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainRequest;
using internal::v1::TrainResponse;

// How often a caller's cancellation is looked at.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(20);

// One call to the worker. The session's thread starts each operation and takes
// its result; gRPC's threads only say that it is done. A hold keeps the call
// from its end while more may be started.
class TrainCall final
    : public grpc::ClientBidiReactor<TrainRequest, TrainResponse> {
 public:
  explicit TrainCall(const WorkerChannel& channel)
      : stub_(Training::NewStub(channel)) {
    context_.AddMetadata(kPriorityKey, kJobPriority);
    stub_->async()->Train(&context_, this);
    AddHold();
    StartRead(&read_);
    StartCall();
  }

  // Ends the call, if it has not ended, and waits until gRPC is done with it.
  void End() {
    context_.TryCancel();
    AwaitDone();
  }

  // Starts a write; Written() then tells.
  void Write(const TrainRequest& request) {
    {
      const absl::MutexLock lock(&mutex_);
      written_.reset();
    }
    sent_ = request;
    StartWrite(&sent_);
  }
  // Whether the write is done and was taken; nullopt: not yet.
  std::optional<bool> Written(absl::Duration timeout) {
    const absl::MutexLock lock(&mutex_);
    if (!written_.has_value()) changed_.WaitWithTimeout(mutex_, timeout);
    return written_;
  }
  void Cancel() { context_.TryCancel(); }

  // Takes the next message. False if none came, or no more will: see HasRead.
  bool TakeRead(absl::Duration timeout, TrainResponse& message) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!read_done_.has_value()) changed_.WaitWithTimeout(mutex_, timeout);
      if (!read_done_.value_or(false)) return false;
      read_done_.reset();
    }
    message.Swap(&read_);
    StartRead(&read_);
    return true;
  }
  // Whether the worker has ended its side.
  bool HasEnded() {
    const absl::MutexLock lock(&mutex_);
    return read_done_.has_value() && !*read_done_;
  }

  // REQUIRES: HasEnded(), or Cancel() before.
  grpc::Status AwaitDone() {
    if (!std::exchange(released_, true)) RemoveHold();
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
  void OnWriteDone(bool ok) override {
    const absl::MutexLock lock(&mutex_);
    written_ = ok;
    changed_.SignalAll();
  }
  void OnDone(const grpc::Status& status) override {
    const absl::MutexLock lock(&mutex_);
    status_ = status;
    changed_.SignalAll();
  }

  const std::unique_ptr<Training::Stub> stub_;
  grpc::ClientContext context_;
  TrainRequest sent_;
  TrainResponse read_;
  bool released_ = false;  // the hold; of the session's thread
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  std::optional<bool> written_ ABSL_GUARDED_BY(mutex_);
  std::optional<bool> read_done_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> status_ ABSL_GUARDED_BY(mutex_);
};

class WorkerTrainingSession final : public TrainingSession {
 public:
  WorkerTrainingSession(WorkerRoute& route, const WorkerChoice& worker,
                        const internal::v1::TrainBegin& begin,
                        DeviceSpend* spend)
      : meter_(*worker.meter),
        spend_(spend),
        kept_(route, begin.evaluation_adapter(), worker),
        call_(worker.channel) {
    metered_.emplace(meter_);
  }
  ~WorkerTrainingSession() override {
    Charge(0);
    call_.End();
  }

  absl::Status Send(const TrainRequest& request,
                    const CallOptions& options) override;
  absl::StatusOr<ReceivedMessage> Receive(absl::Duration timeout) override;

 private:
  // What the call ended with; messages that came before are dropped.
  absl::Status EndStatus() {
    TrainResponse dropped;
    while (!call_.HasEnded()) {
      call_.TakeRead(absl::InfiniteDuration(), dropped);
    }
    return FromGrpc(FromWorker(call_.AwaitDone()));
  }
  void Charge(int64_t token_count) {
    if (!metered_.has_value()) return;
    const double seconds = metered_->Seconds();
    if (spend_ != nullptr) spend_->Add(seconds - charged_seconds_, token_count);
    charged_seconds_ = seconds;
  }

  DeviceMeter& meter_;
  DeviceSpend* const spend_;
  const WorkerRoute::KeptAdapter kept_;
  std::optional<DeviceMeter::Call> metered_;  // unless it waits for go_on
  double charged_seconds_ = 0;                // of `metered_`
  TrainCall call_;
};

absl::Status WorkerTrainingSession::Send(const TrainRequest& request,
                                         const CallOptions& options) {
  if (call_.HasEnded()) return EndStatus();
  if (request.has_go_on() && !metered_.has_value()) {
    metered_.emplace(meter_);
    charged_seconds_ = 0;
  }
  const absl::Duration deadline = Clock::Real().Monotonic() + options.timeout;
  absl::Status given_up;
  call_.Write(request);
  std::optional<bool> written;
  while (!(written = call_.Written(kCancelPoll)).has_value()) {
    if (!given_up.ok()) continue;
    if (options.cancelled && options.cancelled()) {
      given_up = absl::CancelledError("cancelled");
    } else if (Clock::Real().Monotonic() >= deadline) {
      given_up = absl::DeadlineExceededError(
          "the worker took no message of the training in time");
    }
    if (!given_up.ok()) call_.Cancel();
  }
  RETURN_IF_ERROR(given_up);
  if (*written) return absl::OkStatus();
  const absl::Status end = EndStatus();
  return end.ok() ? WorkerUnavailable() : end;
}

absl::StatusOr<ReceivedMessage> WorkerTrainingSession::Receive(
    absl::Duration timeout) {
  ReceivedMessage received;
  TrainResponse message;
  if (call_.TakeRead(timeout, message)) {
    Charge(message.step().token_count());
    if (message.snapshot().kind() == TrainingSnapshot::KIND_EVALUATION) {
      metered_.reset();
    }
    received.message = std::move(message);
    return received;
  }
  if (!call_.HasEnded()) return received;
  Charge(0);
  metered_.reset();
  RETURN_IF_ERROR(FromGrpc(FromWorker(call_.AwaitDone())));
  received.ended = true;
  return received;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingSession>> WorkerTraining::Train(
    const internal::v1::TrainBegin& begin, const CallOptions& options) {
  TrainRequest request;
  *request.mutable_begin() = begin;
  const WorkerChoice worker = route_.For(request);
  if (worker.channel == nullptr) return WorkerUnavailable();
  auto session = std::make_unique<WorkerTrainingSession>(route_, worker, begin,
                                                         options.spend);
  RETURN_IF_ERROR(session->Send(request, options));
  return session;
}

}  // namespace dissonance
