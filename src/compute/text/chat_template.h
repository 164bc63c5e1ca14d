// Conversations to prompts, with the chat template of a model directory. The
// text is that of transformers 5's apply_chat_template(tokenize=False).
//
// Templates come with models, from anywhere: rendering is bounded in
// instructions, memory, time and output, and can reach no file and no network.
// Thread safe: all methods are const. Nothing is borrowed from the caller.
//
//   ASSIGN_OR_RETURN(auto chat, ChatTemplate::Load("/models/m"));
//   ASSIGN_OR_RETURN(
//       std::string prompt,
//       chat->Render({{{"role", "user"}, {"content", "Hello"}}},
//                    /*add_generation_prompt=*/true));
#ifndef DISSONANCE_COMPUTE_TEXT_CHAT_TEMPLATE_H_
#define DISSONANCE_COMPUTE_TEXT_CHAT_TEMPLATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "src/compute/text/rust_call.h"

namespace dissonance {

class ChatTemplate {
 public:
  // Limit of the messages and variables, as JSON.
  static constexpr size_t kMaxInputBytes = 16 << 20;

  // Reads chat_template.jinja, else chat_template of tokenizer_config.json (a
  // string, or a list of {name, template}). NOT_FOUND if there is neither:
  // the model has no chat format. INVALID_ARGUMENT, with the template's line,
  // if it is not a template.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(
      const std::string& model_dir);

  // `messages` is an array of {role, content, ...}; `variables` is an object
  // of further template variables (date_string, tools, enable_thinking, ...),
  // which win over the special tokens of the tokenizer. Keys keep their order.
  // `add_generation_prompt` appends what opens the assistant's turn. `now` is
  // what strftime_now tells, in UTC, in seconds since 1970; without it, the
  // local time.
  //
  // INVALID_ARGUMENT with the template's own message if it raises an
  // exception; RESOURCE_EXHAUSTED if a limit is passed.
  absl::StatusOr<std::string> Render(
      const nlohmann::ordered_json& messages, bool add_generation_prompt,
      const nlohmann::ordered_json& variables =
          nlohmann::ordered_json::object(),
      std::optional<int64_t> now = std::nullopt) const;

  // "sha256:..." of the templates and the special tokens that they see.
  const std::string& digest() const { return digest_; }

 private:
  ChatTemplate() = default;

  // By name; "default" is there unless no template has that name.
  std::map<std::string, RustTemplatePtr> templates_;
  std::map<std::string, std::string> special_tokens_;
  std::string digest_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_CHAT_TEMPLATE_H_
