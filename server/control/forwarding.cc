#include "server/control/forwarding.h"

#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "server/control/forwarded_call.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;
using Unary = grpc::ServerUnaryReactor;
using Stream = grpc::ServerWriteReactor<Bytes>;

using RawInference = v1::Inference::WithRawCallbackMethod_Tokenize<
    v1::Inference::WithRawCallbackMethod_Detokenize<
        v1::Inference::WithRawCallbackMethod_RenderChat<
            v1::Inference::WithRawCallbackMethod_Score<
                v1::Inference::WithRawCallbackMethod_Generate<
                    v1::Inference::Service>>>>>;

class ForwardedInference final : public RawInference {
 public:
  explicit ForwardedInference(const WorkerRoute& route) : route_(route) {}

  Unary* Tokenize(Context* context, const Bytes* request,
                  Bytes* response) override {
    return ForwardUnary(route_.channel(), "/dissonance.v1.Inference/Tokenize",
                        *context, request, response);
  }
  Unary* Detokenize(Context* context, const Bytes* request,
                    Bytes* response) override {
    return ForwardUnary(route_.channel(), "/dissonance.v1.Inference/Detokenize",
                        *context, request, response);
  }
  Unary* RenderChat(Context* context, const Bytes* request,
                    Bytes* response) override {
    return ForwardUnary(route_.channel(), "/dissonance.v1.Inference/RenderChat",
                        *context, request, response);
  }
  Unary* Score(Context* context, const Bytes* request,
               Bytes* response) override {
    return ForwardUnary(route_.channel(), "/dissonance.v1.Inference/Score",
                        *context, request, response);
  }
  Stream* Generate(Context* context, const Bytes* request) override {
    return ForwardStream(route_.channel(), "/dissonance.v1.Inference/Generate",
                         *context, request);
  }

 private:
  const WorkerRoute& route_;
};

using RawInterpretability =
    v1::Interpretability::WithRawCallbackMethod_StreamActivations<
        v1::Interpretability::WithRawCallbackMethod_LogitLens<
            v1::Interpretability::WithRawCallbackMethod_CompareVariants<
                v1::Interpretability::WithRawCallbackMethod_Patch<
                    v1::Interpretability::Service>>>>;

class ForwardedInterpretability final : public RawInterpretability {
 public:
  explicit ForwardedInterpretability(const WorkerRoute& route)
      : route_(route) {}

  Stream* StreamActivations(Context* context, const Bytes* request) override {
    return ForwardStream(route_.channel(),
                         "/dissonance.v1.Interpretability/StreamActivations",
                         *context, request);
  }
  Stream* LogitLens(Context* context, const Bytes* request) override {
    return ForwardStream(route_.channel(),
                         "/dissonance.v1.Interpretability/LogitLens", *context,
                         request);
  }
  Stream* CompareVariants(Context* context, const Bytes* request) override {
    return ForwardStream(route_.channel(),
                         "/dissonance.v1.Interpretability/CompareVariants",
                         *context, request);
  }
  Unary* Patch(Context* context, const Bytes* request,
               Bytes* response) override {
    return ForwardUnary(route_.channel(),
                        "/dissonance.v1.Interpretability/Patch", *context,
                        request, response);
  }

 private:
  const WorkerRoute& route_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeForwardedInference(
    const WorkerRoute& route) {
  return std::make_unique<ForwardedInference>(route);
}

std::unique_ptr<grpc::Service> MakeForwardedInterpretability(
    const WorkerRoute& route) {
  return std::make_unique<ForwardedInterpretability>(route);
}

}  // namespace dissonance
