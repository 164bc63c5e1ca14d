#include "server/worker/prompt_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kWhere = "chat.template_kwargs_json";

absl::StatusOr<nlohmann::ordered_json> TemplateVariables(const v1::Chat& chat) {
  if (chat.template_kwargs_json().empty()) {
    return nlohmann::ordered_json::object();
  }
  // The strict parse finds repeated keys and deep nesting; the second one
  // keeps the keys' order.
  ASSIGN_OR_RETURN(const nlohmann::json checked,
                   ParseJson(chat.template_kwargs_json(), kWhere));
  if (!checked.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhere, ": expected a JSON object"));
  }
  return nlohmann::ordered_json::parse(chat.template_kwargs_json());
}

}  // namespace

absl::StatusOr<const Tokenizer*> TokenizerOf(const ResidentModel& model) {
  if (model.tokenizer != nullptr) return model.tokenizer.get();
  return absl::FailedPreconditionError(absl::StrCat(
      model.name, " has no tokenizer (no tokenizer.json in ", model.path,
      "); give token ids instead of text, or add the file and load the model "
      "again"));
}

absl::Status OverLimit(absl::string_view what, int64_t found, int64_t limit,
                       absl::string_view key) {
  return absl::ResourceExhaustedError(
      absl::StrCat(what, ": ", found, "; the limit is ", limit, " (limits.",
                   key, " of the server's configuration); split the request"));
}

absl::Status CheckText(absl::string_view text, const RequestLimits& limits) {
  if (static_cast<int64_t>(text.size()) <= limits.text_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the text has ", text.size(), " bytes; the limit is ", limits.text_bytes,
      " (limits.text_bytes of the server's configuration)"));
}

absl::StatusOr<std::string> RenderChat(const ResidentModel& model,
                                       const v1::Chat& chat,
                                       const RequestLimits& limits,
                                       std::optional<int64_t> now) {
  RETURN_IF_ERROR(TokenizerOf(model).status());
  if (model.chat_template == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        model.name,
        " has no chat template (neither chat_template.jinja nor "
        "chat_template in tokenizer_config.json in ",
        model.path, "); give text or token ids instead of a chat"));
  }
  if (chat.messages().empty()) {
    return absl::InvalidArgumentError("chat.messages: expected at least one");
  }
  int64_t bytes = 0;
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const v1::ChatMessage& message : chat.messages()) {
    bytes += static_cast<int64_t>(message.content().size());
    messages.push_back(
        {{"role", message.role()}, {"content", message.content()}});
  }
  if (bytes > limits.text_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("chat.messages have ", bytes, " bytes; the limit is ",
                     limits.text_bytes,
                     " (limits.text_bytes of the server's "
                     "configuration)"));
  }
  ASSIGN_OR_RETURN(const nlohmann::ordered_json variables,
                   TemplateVariables(chat));
  ASSIGN_OR_RETURN(std::string text,
                   model.chat_template->Render(
                       messages, chat.add_generation_prompt(), variables, now));
  RETURN_IF_ERROR(CheckText(text, limits));
  return text;
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const ResidentModel& model,
                                           const v1::Input& input,
                                           const RequestLimits& limits) {
  EncodedPrompt prompt;
  switch (input.content_case()) {
    case v1::Input::kTokens:
      prompt.tokens = {input.tokens().ids().begin(),
                       input.tokens().ids().end()};
      return prompt;
    case v1::Input::kText:
      RETURN_IF_ERROR(CheckText(input.text(), limits));
      prompt.text = input.text();
      prompt.add_special_tokens = !input.skip_special_tokens();
      break;
    case v1::Input::kChat: {
      ASSIGN_OR_RETURN(prompt.text, RenderChat(model, input.chat(), limits));
      break;
    }
    default:
      return absl::InvalidArgumentError(
          "prompt: expected one of text, chat and tokens");
  }
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(model));
  ASSIGN_OR_RETURN(prompt.tokens,
                   tokenizer->Encode(*prompt.text, prompt.add_special_tokens));
  return prompt;
}

}  // namespace dissonance
