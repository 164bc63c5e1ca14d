#include "server/control/openai_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/models.pb.h"
#include "grpcpp/channel.h"
#include "server/control/openai_error.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::string ServerSent(const json& data) {
  return absl::StrCat(
      "data: ", data.dump(-1, ' ', false, json::error_handler_t::replace),
      "\n\n");
}

}  // namespace

OpenAiCall::OpenAiCall(LocalCalls& calls, const HttpRequest& http,
                       OpenAiRequest request)
    : calls_(calls),
      authorization_(http.authorization),
      request_(std::move(request)),
      stream_(http) {}

absl::StatusOr<std::unique_ptr<OpenAiCall>> OpenAiCall::Begin(
    LocalCalls& calls, const HttpRequest& http, OpenAiRequest request) {
  std::unique_ptr<OpenAiCall> call(
      new OpenAiCall(calls, http, std::move(request)));
  RETURN_IF_ERROR(call->SetLimit());
  RETURN_IF_ERROR(call->Start());
  call->has_first_ = call->Next();
  RETURN_IF_ERROR(call->end_);
  return call;
}

// A conversation goes on to the model's last position if nothing else is said.
absl::Status OpenAiCall::SetLimit() {
  v1::GenerateRequest& generate = request_.generate;
  if (generate.options().max_new_token_count() > 0) return absl::OkStatus();
  v1::GetModelRequest model_request;
  model_request.set_name(generate.variants(0).model());
  v1::GetModelResponse model;
  RETURN_IF_ERROR(calls_.Call("/dissonance.v1.Models/GetModel", authorization_,
                              model_request, model));
  v1::RenderChatRequest chat_request;
  chat_request.set_model(model_request.name());
  *chat_request.mutable_chat() = generate.inputs(0).chat();
  v1::RenderChatResponse chat;
  RETURN_IF_ERROR(calls_.Call("/dissonance.v1.Inference/RenderChat",
                              authorization_, chat_request, chat));
  generate.mutable_options()->set_max_new_token_count(
      std::max(model.model().max_position_count() - chat.ids_size(), 1));
  return absl::OkStatus();
}

absl::Status OpenAiCall::Start() {
  return stream_.Start(
      calls_, [this](const std::shared_ptr<grpc::Channel>& channel,
                     grpc::ClientContext* context, auto* reactor) {
        stub_ = v1::Inference::NewStub(channel);
        stub_->async()->Generate(context, &request_.generate, reactor);
      });
}

bool OpenAiCall::Next() {
  if (std::exchange(has_first_, false)) return true;
  if (stream_.Next()) return true;
  end_ = stream_.end();
  return false;
}

absl::Status OpenAiCall::Learn(const std::set<int32_t>& ids) {
  if (ids.empty()) return absl::OkStatus();
  v1::DetokenizeRequest request;
  request.set_model(request_.generate.variants(0).model());
  request.mutable_ids()->Assign(ids.begin(), ids.end());
  request.set_skip_special_tokens(true);
  request.set_per_token(true);
  v1::DetokenizeResponse texts;
  RETURN_IF_ERROR(calls_.Call("/dissonance.v1.Inference/Detokenize",
                              authorization_, request, texts));
  answer_.LearnTokens(ids, texts);
  return absl::OkStatus();
}

absl::StatusOr<json> OpenAiCall::Whole() {
  std::vector<v1::GenerateResponse> events;
  std::set<int32_t> ids;
  while (Next()) {
    events.push_back(stream_.message());
    ids.merge(answer_.UnknownTokens(events.back()));
  }
  RETURN_IF_ERROR(end_);
  RETURN_IF_ERROR(Learn(ids));
  for (const v1::GenerateResponse& event : events) answer_.Add(event);
  return answer_.Whole();
}

std::string OpenAiCall::NextPiece() {
  if (has_told_end_) return "";
  while (end_.ok() && Next()) {
    const v1::GenerateResponse& event = stream_.message();
    end_ = Learn(answer_.UnknownTokens(event));
    if (!end_.ok()) break;
    std::string piece;
    for (const json& chunk : answer_.Add(event)) piece += ServerSent(chunk);
    if (!piece.empty()) return piece;
  }
  has_told_end_ = true;
  return end_.ok() ? "data: [DONE]\n\n" : ServerSent(OpenAiErrorBody(end_));
}

}  // namespace dissonance
