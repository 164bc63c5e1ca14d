#include "server/control/forwarded_call.h"

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

using grpc::ByteBuffer;

// A client may end its side, or its call, before it sent the request; gRPC
// would abort the process that forwards nothing.
absl::Status CheckForwardable(const Admission& admission,
                              const ByteBuffer& request) {
  if (!admission.refused.ok()) return admission.refused;
  if (!request.Valid()) {
    return absl::InvalidArgumentError(
        "no request message came before the call's end; send one");
  }
  return admission.worker == nullptr ? WorkerUnavailable() : absl::OkStatus();
}

// Deletes itself.
class ForwardedUnary final : public grpc::ServerUnaryReactor {
 public:
  ForwardedUnary(Admission admission, const char* method,
                 const grpc::CallbackServerContext& context,
                 const ByteBuffer* request, ByteBuffer* response)
      : charge_(std::move(admission.charge)) {
    const absl::Status forwardable = CheckForwardable(admission, *request);
    if (!forwardable.ok()) {
      Finish(ToGrpc(forwardable));
      return;
    }
    resolved_ = std::move(admission.request);
    context_.set_deadline(context.deadline());
    grpc::GenericStub(admission.worker)
        .UnaryCall(
            &context_, method, grpc::StubOptions(),
            resolved_.has_value() ? &*resolved_ : request, response,
            // The call may be deleted by another thread once it is finished.
            [this](const grpc::Status& status) { Finish(FromWorker(status)); });
  }

  void OnCancel() override { context_.TryCancel(); }
  void OnDone() override { delete this; }

 private:
  const std::unique_ptr<ChargedCall> charge_;
  std::optional<ByteBuffer> resolved_;
  grpc::ClientContext context_;
};

// Reads the next message from the worker while the last one is written to the
// client. A hold keeps the worker's side from its end until nothing is under
// way on either; its end is what finishes the client's side, which deletes
// both. Cancellation stands outside of this: it makes what is under way fail.
class ForwardedStream final : public grpc::ServerWriteReactor<ByteBuffer> {
 public:
  ForwardedStream(Admission admission, const char* method,
                  const grpc::CallbackServerContext& context,
                  const ByteBuffer* request)
      : charge_(std::move(admission.charge)), worker_side_(*this) {
    const absl::Status forwardable = CheckForwardable(admission, *request);
    if (!forwardable.ok()) {
      Finish(ToGrpc(forwardable));
      return;
    }
    context_.set_deadline(context.deadline());
    grpc::GenericStub(admission.worker)
        .PrepareBidiStreamingCall(&context_, method, grpc::StubOptions(),
                                  &worker_side_);
    worker_side_.AddHold();
    resolved_ = std::move(admission.request);
    worker_side_.StartWriteLast(resolved_.has_value() ? &*resolved_ : request,
                                grpc::WriteOptions());
    worker_side_.StartRead(&read_);
    if (admission.streams != nullptr) {
      open_ = admission.streams->Add(
          admission.token, [this](const absl::Status& status) { End(status); });
    }
    // This may be deleted by another thread from here on.
    worker_side_.StartCall();
  }

  void OnWriteDone(bool ok) override {
    written_.Clear();
    Next next;
    {
      const absl::MutexLock lock(&mutex_);
      is_writing_ = false;
      if (!ok) has_ended_ = true;
      next = TakeNext();
    }
    // The client went away; the worker need not learn it by OnCancel.
    if (!ok) context_.TryCancel();
    Do(next);
  }
  void OnCancel() override { context_.TryCancel(); }
  void OnDone() override { delete this; }

 private:
  // Ends the call so instead of with what the worker says of its end.
  void End(const absl::Status& status) {
    {
      const absl::MutexLock lock(&mutex_);
      ended_with_ = status;
    }
    context_.TryCancel();
  }
  grpc::Status FinalStatus(const grpc::Status& of_worker) {
    const absl::MutexLock lock(&mutex_);
    return ended_with_.ok() ? FromWorker(of_worker) : ToGrpc(ended_with_);
  }

  enum class Next { kWait, kPassOn, kEnd };

  class WorkerSide final
      : public grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
   public:
    explicit WorkerSide(ForwardedStream& stream) : stream_(stream) {}

    void OnReadDone(bool ok) override { stream_.OnMessage(ok); }
    void OnDone(const grpc::Status& status) override {
      stream_.Finish(stream_.FinalStatus(status));
    }

   private:
    ForwardedStream& stream_;
  };

  void OnMessage(bool ok) {
    Next next;
    {
      const absl::MutexLock lock(&mutex_);
      is_reading_ = false;
      if (!ok) has_ended_ = true;
      next = TakeNext();
    }
    Do(next);
  }

  // What there is to do now that one side's work is done; once kEnd.
  Next TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (is_reading_ || is_writing_) return Next::kWait;
    if (has_ended_) return Next::kEnd;
    written_.Swap(&read_);
    is_reading_ = is_writing_ = true;
    return Next::kPassOn;
  }

  void Do(Next next) {
    if (next == Next::kPassOn) {
      worker_side_.StartRead(&read_);
      StartWrite(&written_);
    } else if (next == Next::kEnd) {
      worker_side_.RemoveHold();
    }
  }

  const std::unique_ptr<ChargedCall> charge_;
  std::optional<ByteBuffer> resolved_;
  grpc::ClientContext context_;
  absl::Mutex mutex_;
  absl::Status ended_with_ ABSL_GUARDED_BY(mutex_);
  // The client went away, or nothing more comes from the worker.
  bool has_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = true;   // into read_
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;  // written_
  ByteBuffer read_;
  ByteBuffer written_;
  WorkerSide worker_side_;
  // Goes first: what it ends is there still.
  std::unique_ptr<OpenCall> open_;
};

}  // namespace

grpc::ServerUnaryReactor* ForwardUnary(
    Admission admission, const char* method,
    const grpc::CallbackServerContext& context, const ByteBuffer* request,
    ByteBuffer* response) {
  return new ForwardedUnary(std::move(admission), method, context, request,
                            response);
}

grpc::ServerWriteReactor<ByteBuffer>* ForwardStream(
    Admission admission, const char* method,
    const grpc::CallbackServerContext& context, const ByteBuffer* request) {
  return new ForwardedStream(std::move(admission), method, context, request);
}

}  // namespace dissonance
