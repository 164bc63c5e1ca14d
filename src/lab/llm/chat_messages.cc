#include "src/lab/llm/chat_messages.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr size_t kErrorTextBytes = 300;

json BodyJson(const ChatRequest& request) {
  json messages = json::array();
  for (const ChatMessage& message : request.messages) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  json body = {{"model", request.model}, {"messages", std::move(messages)}};
  const auto add = [&body](const char* key, const auto& value) {
    if (value.has_value()) body[key] = *value;
  };
  add("temperature", request.temperature);
  add("top_p", request.top_p);
  add("max_tokens", request.max_tokens);
  add("seed", request.seed);
  if (request.json_object) body["response_format"] = {{"type", "json_object"}};
  return body;
}

json ParseLeniently(absl::string_view body) {
  return json::parse(body.begin(), body.end(), /*cb=*/nullptr,
                     /*allow_exceptions=*/false);
}

// A member of an object, null for anything else.
json Member(const json& value, const char* key) {
  return value.is_object() ? value.value(key, json()) : json();
}

std::string Text(const json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

int64_t Count(const json& value) {
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

ChatUsage UsageOf(const json& value) {
  ChatUsage usage{
      .prompt_tokens = Count(Member(value, "prompt_tokens")),
      .completion_tokens = Count(Member(value, "completion_tokens"))};
  const json cost = Member(value, "cost");
  if (cost.is_number()) usage.cost = cost.get<double>();
  return usage;
}

absl::Status NotWhole(absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat("the endpoint's answer is no chat completion: ", what));
}

}  // namespace

std::string ChatRequestBody(const ChatRequest& request) {
  return BodyJson(request).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string ChatRequestDigest(absl::string_view base_url,
                              const ChatRequest& request) {
  Sha256 digest;
  digest.UpdateFramed(base_url);
  digest.UpdateFramed(ChatRequestBody(request));
  digest.UpdateFramed(absl::StrCat(request.attempt));
  return digest.Finish();
}

absl::StatusOr<ChatReply> ParseChatReply(absl::string_view body) {
  const json value = ParseLeniently(body);
  if (value.is_discarded()) return NotWhole("it is not JSON");
  const json choices = Member(value, "choices");
  if (!choices.is_array() || choices.empty()) {
    return NotWhole(absl::StrCat("it has no choices: ", ChatErrorText(body)));
  }
  const json content = Member(Member(choices[0], "message"), "content");
  if (!content.is_string()) return NotWhole("its first choice has no text");
  return ChatReply{.content = content.get<std::string>(),
                   .finish_reason = Text(Member(choices[0], "finish_reason")),
                   .model = Text(Member(value, "model")),
                   .usage = UsageOf(Member(value, "usage"))};
}

std::string ChatErrorText(absl::string_view body) {
  const json value = ParseLeniently(body);
  const json error = Member(value, "error");
  std::string text = Text(error.is_string() ? error : Member(error, "message"));
  if (text.empty()) text = std::string(body);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  text.resize(std::min(text.size(), kErrorTextBytes));
  text.resize(FindInvalidUtf8(text).value_or(text.size()));
  return text;
}

}  // namespace dissonance
