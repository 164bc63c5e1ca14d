#include "server/worker/inference_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/call_priority.h"
#include "server/worker/generate_call.h"
#include "server/worker/grpc_status.h"
#include "server/worker/refused_stream.h"
#include "server/worker/score_call.h"
#include "server/worker/score_plan.h"
#include "src/base/status_macros.h"
#include "src/compute/text/token_bytes.h"

namespace dissonance {
namespace {

grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext* context,
                                     const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

absl::Status TokenizeText(ModelRegistry& registry, const RequestLimits& limits,
                          const v1::TokenizeRequest& request,
                          v1::TokenizeResponse& response) {
  ASSIGN_OR_RETURN(const ResidentModel model,
                   registry.GetModel(request.model()));
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(model));
  RETURN_IF_ERROR(CheckText(request.text(), limits));
  ASSIGN_OR_RETURN(
      const std::vector<int32_t> ids,
      tokenizer->Encode(request.text(), !request.skip_special_tokens()));
  response.mutable_ids()->Assign(ids.begin(), ids.end());
  for (const int32_t id : ids) {
    ASSIGN_OR_RETURN(*response.add_pieces(), tokenizer->Piece(id));
  }
  return absl::OkStatus();
}

absl::Status DetokenizeIds(ModelRegistry& registry,
                           const v1::DetokenizeRequest& request,
                           v1::DetokenizeResponse& response) {
  ASSIGN_OR_RETURN(const ResidentModel model,
                   registry.GetModel(request.model()));
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(model));
  const int64_t vocab = model.model->spec().vocab_size;
  for (int i = 0; i < request.ids_size(); ++i) {
    if (request.ids(i) < 0 || request.ids(i) >= vocab) {
      return absl::InvalidArgumentError(
          absl::StrCat("ids[", i, "]: ", request.ids(i),
                       " is not in the vocabulary of ", vocab, " tokens"));
    }
  }
  ASSIGN_OR_RETURN(*response.mutable_text(),
                   tokenizer->Decode({request.ids().data(),
                                      static_cast<size_t>(request.ids_size())},
                                     request.skip_special_tokens()));
  if (!request.per_token()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const TokenBytes bytes, TokenBytes::Create(*tokenizer));
  for (const int32_t id : request.ids()) {
    v1::TokenText& token = *response.add_tokens();
    ASSIGN_OR_RETURN(*token.mutable_text(),
                     bytes.Of(id, request.skip_special_tokens()));
    token.set_piece(tokenizer->Piece(id).value_or(""));
  }
  return absl::OkStatus();
}

absl::Status Render(ModelRegistry& registry, const RequestLimits& limits,
                    const v1::RenderChatRequest& request,
                    v1::RenderChatResponse& response) {
  ASSIGN_OR_RETURN(const ResidentModel model,
                   registry.GetModel(request.model()));
  v1::Input input;
  *input.mutable_chat() = request.chat();
  ASSIGN_OR_RETURN(EncodedPrompt prompt, EncodePrompt(model, input, limits));
  response.set_text(*std::move(prompt.text));
  response.mutable_ids()->Assign(prompt.tokens.begin(), prompt.tokens.end());
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Tokenize(
    grpc::CallbackServerContext* context, const v1::TokenizeRequest* request,
    v1::TokenizeResponse* response) {
  return FinishWith(context,
                    TokenizeText(registry_, limits_, *request, *response));
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(
    grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
    v1::DetokenizeResponse* response) {
  return FinishWith(context, DetokenizeIds(registry_, *request, *response));
}

grpc::ServerUnaryReactor* InferenceService::RenderChat(
    grpc::CallbackServerContext* context, const v1::RenderChatRequest* request,
    v1::RenderChatResponse* response) {
  return FinishWith(context, Render(registry_, limits_, *request, *response));
}

grpc::ServerUnaryReactor* InferenceService::Score(
    grpc::CallbackServerContext* context, const v1::ScoreRequest* request,
    v1::ScoreResponse* response) {
  absl::StatusOr<ScorePlan> plan =
      MakeScorePlan(*request, registry_, limits_,
                    [context] { return context->IsCancelled(); });
  if (!plan.ok()) return FinishWith(context, plan.status());
  auto* call =
      new ScoreCall(engine_, *std::move(plan), *response, PriorityOf(*context));
  call->Start();
  return call;
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  absl::StatusOr<GeneratePlan> plan =
      MakeGeneratePlan(*request, registry_, limits_,
                       [context] { return context->IsCancelled(); });
  if (!plan.ok()) {
    return new RefusedStream<v1::GenerateResponse>(plan.status());
  }
  auto* call =
      new GenerateCall(engine_, *std::move(plan), PriorityOf(*context));
  call->Start();
  return call;
}

}  // namespace dissonance
