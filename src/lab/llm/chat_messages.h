// Requests and replies of the chat completions that OpenAI's API made common,
// as values and as JSON. Pure; thread safe.
//
//   ChatRequest request{.model = "gpt-4o-mini", .messages = {{"user", "Hi"}}};
//   std::string body = ChatRequestBody(request);
//   absl::StatusOr<ChatReply> reply = ParseChatReply(answer);
#ifndef DISSONANCE_LAB_LLM_CHAT_MESSAGES_H_
#define DISSONANCE_LAB_LLM_CHAT_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;

  friend bool operator==(const ChatMessage&, const ChatMessage&) = default;
};

// Fields that are unset are not sent: the endpoint's defaults hold.
struct ChatRequest {
  std::string model;
  std::vector<ChatMessage> messages;
  std::optional<double> temperature = std::nullopt;
  std::optional<double> top_p = std::nullopt;
  std::optional<int64_t> max_tokens = std::nullopt;  // of the reply
  std::optional<int64_t> seed = std::nullopt;
  bool json_object = false;  // the reply shall be one JSON object
  // Tells requests apart that are alike otherwise and want replies of their
  // own, as samples and retries do. Not sent.
  int64_t attempt = 0;
};

struct ChatUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  // In US dollars, where the endpoint tells.
  std::optional<double> cost = std::nullopt;
};

struct ChatReply {
  std::string content = {};
  std::string finish_reason = {};  // "stop", "length", ...
  std::string model = {};          // as the endpoint names what it ran
  ChatUsage usage = {};
};

// The body to POST: JSON with sorted keys.
std::string ChatRequestBody(const ChatRequest& request);

// "sha256:HEX" of everything that a reply may depend on.
std::string ChatRequestDigest(absl::string_view base_url,
                              const ChatRequest& request);

// Reads the body of a completion. UNAVAILABLE, worth another try, if it is not
// whole: no JSON, no choice, or no text in it.
absl::StatusOr<ChatReply> ParseChatReply(absl::string_view body);

// What an answer that is no completion says: the error's message in its body,
// else the body's beginning. At most 300 bytes, one line.
std::string ChatErrorText(absl::string_view body);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CHAT_MESSAGES_H_
