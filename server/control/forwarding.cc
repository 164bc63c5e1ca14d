#include "server/control/forwarding.h"

#include "dissonance/v1/inference.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

// One call on its way. Deletes itself.
class ForwardedCall final : public grpc::ServerUnaryReactor {
 public:
  ForwardedCall(WorkerChannel channel, const char* method,
                const grpc::CallbackServerContext& context,
                const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
    if (channel == nullptr) {
      Finish(ToGrpc(WorkerUnavailable()));
      return;
    }
    context_.set_deadline(context.deadline());
    grpc::GenericStub(channel).UnaryCall(
        &context_, method, grpc::StubOptions(), request, response,
        // The call may be deleted by another thread once it is finished.
        [this](const grpc::Status& status) { Finish(FromWorker(status)); });
  }

  void OnCancel() override { context_.TryCancel(); }
  void OnDone() override { delete this; }

 private:
  grpc::ClientContext context_;
};

using RawInference = v1::Inference::WithRawCallbackMethod_Tokenize<
    v1::Inference::WithRawCallbackMethod_Detokenize<
        v1::Inference::WithRawCallbackMethod_RenderChat<
            v1::Inference::WithRawCallbackMethod_Score<
                v1::Inference::Service>>>>;

class ForwardedInference final : public RawInference {
 public:
  explicit ForwardedInference(const WorkerRoute& route) : route_(route) {}

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override {
    return Forward("/dissonance.v1.Inference/Tokenize", context, request,
                   response);
  }
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return Forward("/dissonance.v1.Inference/Detokenize", context, request,
                   response);
  }
  grpc::ServerUnaryReactor* RenderChat(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return Forward("/dissonance.v1.Inference/RenderChat", context, request,
                   response);
  }
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override {
    return Forward("/dissonance.v1.Inference/Score", context, request,
                   response);
  }

 private:
  grpc::ServerUnaryReactor* Forward(const char* method,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) {
    return new ForwardedCall(route_.channel(), method, *context, request,
                             response);
  }

  const WorkerRoute& route_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeForwardedInference(
    const WorkerRoute& route) {
  return std::make_unique<ForwardedInference>(route);
}

}  // namespace dissonance
