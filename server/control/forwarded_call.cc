#include "server/control/forwarded_call.h"

#include "absl/status/status.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

using grpc::ByteBuffer;

// A client may end its side, or its call, before it sent the request; gRPC
// would abort the process that forwards nothing.
absl::Status CheckForwardable(const WorkerChannel& worker,
                              const ByteBuffer& request) {
  if (!request.Valid()) {
    return absl::InvalidArgumentError(
        "no request message came before the call's end; send one");
  }
  return worker == nullptr ? WorkerUnavailable() : absl::OkStatus();
}

// Deletes itself.
class ForwardedUnary final : public grpc::ServerUnaryReactor {
 public:
  ForwardedUnary(const WorkerChannel& worker, const char* method,
                 const grpc::CallbackServerContext& context,
                 const ByteBuffer* request, ByteBuffer* response) {
    const absl::Status forwardable = CheckForwardable(worker, *request);
    if (!forwardable.ok()) {
      Finish(ToGrpc(forwardable));
      return;
    }
    context_.set_deadline(context.deadline());
    grpc::GenericStub(worker).UnaryCall(
        &context_, method, grpc::StubOptions(), request, response,
        // The call may be deleted by another thread once it is finished.
        [this](const grpc::Status& status) { Finish(FromWorker(status)); });
  }

  void OnCancel() override { context_.TryCancel(); }
  void OnDone() override { delete this; }

 private:
  grpc::ClientContext context_;
};

// Two reactors that take turns: the worker's side reads a message, the
// client's side writes it, and so on. Whichever turn fails is the last one, so
// nothing is ever under way on both sides and message_ needs no lock. A hold
// keeps the worker's side from its end while it is the client's turn; its end
// is what finishes the client's side, which deletes both. Cancellation stands
// outside of this: it makes the turn in progress fail.
class ForwardedStream final : public grpc::ServerWriteReactor<ByteBuffer> {
 public:
  ForwardedStream(const WorkerChannel& worker, const char* method,
                  const grpc::CallbackServerContext& context,
                  const ByteBuffer* request)
      : worker_side_(*this) {
    const absl::Status forwardable = CheckForwardable(worker, *request);
    if (!forwardable.ok()) {
      Finish(ToGrpc(forwardable));
      return;
    }
    context_.set_deadline(context.deadline());
    grpc::GenericStub(worker).PrepareBidiStreamingCall(
        &context_, method, grpc::StubOptions(), &worker_side_);
    worker_side_.AddHold();
    worker_side_.StartWriteLast(request, grpc::WriteOptions());
    worker_side_.StartRead(&message_);
    // This may be deleted by another thread from here on.
    worker_side_.StartCall();
  }

  void OnWriteDone(bool ok) override {
    message_.Clear();
    if (ok) {
      worker_side_.StartRead(&message_);
      return;
    }
    // The client went away; the worker need not learn it by OnCancel.
    context_.TryCancel();
    worker_side_.RemoveHold();
  }
  void OnCancel() override { context_.TryCancel(); }
  void OnDone() override { delete this; }

 private:
  class WorkerSide final
      : public grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
   public:
    explicit WorkerSide(ForwardedStream& stream) : stream_(stream) {}

    void OnReadDone(bool ok) override {
      if (ok) {
        stream_.StartWrite(&stream_.message_);
      } else {
        RemoveHold();
      }
    }
    void OnDone(const grpc::Status& status) override {
      stream_.Finish(FromWorker(status));
    }

   private:
    ForwardedStream& stream_;
  };

  grpc::ClientContext context_;
  ByteBuffer message_;  // of the side whose turn it is
  WorkerSide worker_side_;
};

}  // namespace

grpc::ServerUnaryReactor* ForwardUnary(
    const WorkerChannel& worker, const char* method,
    const grpc::CallbackServerContext& context, const ByteBuffer* request,
    ByteBuffer* response) {
  return new ForwardedUnary(worker, method, context, request, response);
}

grpc::ServerWriteReactor<ByteBuffer>* ForwardStream(
    const WorkerChannel& worker, const char* method,
    const grpc::CallbackServerContext& context, const ByteBuffer* request) {
  return new ForwardedStream(worker, method, context, request);
}

}  // namespace dissonance
