#include "src/lab/llm/hosted_model.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {
namespace {

constexpr int32_t kReplyTokens = 2048;

}  // namespace

absl::Status FillHostedModel(absl::string_view field, double temperature,
                             v1::HostedModel& model) {
  const auto bad = [field](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".", what));
  };
  if (model.model().empty()) {
    return bad("model: missing; name a model of the endpoint");
  }
  if (model.endpoint().empty()) model.set_endpoint(ChatEndpoints::kDefault);
  if (!model.has_temperature()) model.set_temperature(temperature);
  if (!(model.temperature() >= 0 && model.temperature() <= 2)) {
    return bad("temperature: not between 0 and 2");
  }
  if (model.has_top_p() && !(model.top_p() > 0 && model.top_p() <= 1)) {
    return bad("top_p: not above 0 and at most 1");
  }
  if (model.max_tokens() < 0) return bad("max_tokens: below 0");
  if (model.max_tokens() == 0) model.set_max_tokens(kReplyTokens);
  return absl::OkStatus();
}

ChatRequest AskHosted(const v1::HostedModel& model,
                      std::vector<ChatMessage> messages) {
  ChatRequest request{.model = model.model(),
                      .messages = std::move(messages),
                      .temperature = model.temperature(),
                      .max_tokens = model.max_tokens()};
  if (model.has_top_p()) request.top_p = model.top_p();
  return request;
}

}  // namespace dissonance
