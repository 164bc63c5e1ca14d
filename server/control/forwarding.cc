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
  explicit ForwardedInference(const ForwardingParts& parts) : parts_(parts) {}

  Unary* Tokenize(Context* context, const Bytes* request,
                  Bytes* response) override {
    return ForwardUnary(Admit<v1::TokenizeRequest>(parts_, *context, *request),
                        "/dissonance.v1.Inference/Tokenize", *context, request,
                        response);
  }
  Unary* Detokenize(Context* context, const Bytes* request,
                    Bytes* response) override {
    return ForwardUnary(
        Admit<v1::DetokenizeRequest>(parts_, *context, *request),
        "/dissonance.v1.Inference/Detokenize", *context, request, response);
  }
  Unary* RenderChat(Context* context, const Bytes* request,
                    Bytes* response) override {
    return ForwardUnary(
        Admit<v1::RenderChatRequest>(parts_, *context, *request),
        "/dissonance.v1.Inference/RenderChat", *context, request, response);
  }
  Unary* Score(Context* context, const Bytes* request,
               Bytes* response) override {
    return ForwardUnary(Admit<v1::ScoreRequest>(parts_, *context, *request),
                        "/dissonance.v1.Inference/Score", *context, request,
                        response);
  }
  Stream* Generate(Context* context, const Bytes* request) override {
    return ForwardStream(Admit<v1::GenerateRequest>(parts_, *context, *request),
                         "/dissonance.v1.Inference/Generate", *context,
                         request);
  }

 private:
  const ForwardingParts parts_;
};

using RawInterpretability =
    v1::Interpretability::WithRawCallbackMethod_StreamActivations<
        v1::Interpretability::WithRawCallbackMethod_LogitLens<
            v1::Interpretability::WithRawCallbackMethod_CompareVariants<
                v1::Interpretability::WithRawCallbackMethod_Patch<
                    v1::Interpretability::Service>>>>;

class ForwardedInterpretability final : public RawInterpretability {
 public:
  explicit ForwardedInterpretability(const ForwardingParts& parts)
      : parts_(parts) {}

  Stream* StreamActivations(Context* context, const Bytes* request) override {
    return ForwardStream(
        Admit<v1::StreamActivationsRequest>(parts_, *context, *request),
        "/dissonance.v1.Interpretability/StreamActivations", *context, request);
  }
  Stream* LogitLens(Context* context, const Bytes* request) override {
    return ForwardStream(
        Admit<v1::LogitLensRequest>(parts_, *context, *request),
        "/dissonance.v1.Interpretability/LogitLens", *context, request);
  }
  Stream* CompareVariants(Context* context, const Bytes* request) override {
    return ForwardStream(
        Admit<v1::CompareVariantsRequest>(parts_, *context, *request),
        "/dissonance.v1.Interpretability/CompareVariants", *context, request);
  }
  Unary* Patch(Context* context, const Bytes* request,
               Bytes* response) override {
    return ForwardUnary(Admit<v1::PatchRequest>(parts_, *context, *request),
                        "/dissonance.v1.Interpretability/Patch", *context,
                        request, response);
  }

 private:
  const ForwardingParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeForwardedInference(
    const ForwardingParts& parts) {
  return std::make_unique<ForwardedInference>(parts);
}

std::unique_ptr<grpc::Service> MakeForwardedInterpretability(
    const ForwardingParts& parts) {
  return std::make_unique<ForwardedInterpretability>(parts);
}

}  // namespace dissonance
