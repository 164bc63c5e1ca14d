#include "src/compute/text/chat_template.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/text/tokenizer_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kFileLimitBytes = 1 << 20;
constexpr char kDefault[] = "default";
constexpr char kToolUse[] = "tool_use";

absl::Status WrongTemplateField() {
  return absl::InvalidArgumentError(
      "tokenizer_config.json: chat_template must be a string or a list of "
      "{name, template}");
}

// chat_template of tokenizer_config.json, by name.
absl::StatusOr<std::map<std::string, std::string>> TemplatesOfConfig(
    const Json& config) {
  std::map<std::string, std::string> templates;
  auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return templates;
  if (found->is_string()) {
    templates[kDefault] = found->get<std::string>();
    return templates;
  }
  if (!found->is_array()) return WrongTemplateField();
  for (const Json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") ||
        !entry.contains("template") || !entry["name"].is_string() ||
        !entry["template"].is_string()) {
      return WrongTemplateField();
    }
    templates[entry["name"].get<std::string>()] =
        entry["template"].get<std::string>();
  }
  return templates;
}

// Template files win over the configuration, all together.
absl::StatusOr<std::map<std::string, std::string>> ReadTemplates(
    const std::string& model_dir, const Json& config) {
  std::map<std::string, std::string> templates;
  for (auto [name, file] :
       {std::pair(kDefault, "chat_template.jinja"),
        std::pair(kToolUse, "additional_chat_templates/tool_use.jinja")}) {
    ASSIGN_OR_RETURN(auto source,
                     ReadOptionalFile(model_dir, file, kFileLimitBytes));
    if (source.has_value()) templates[name] = *std::move(source);
  }
  if (!templates.empty()) return templates;
  return TemplatesOfConfig(config);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Load(
    const std::string& model_dir) {
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_dir);
  if (!config.ok()) return Annotate(config.status(), model_dir);
  auto sources = ReadTemplates(model_dir, config->json);
  if (!sources.ok()) return Annotate(sources.status(), model_dir);
  if (sources->empty()) {
    return absl::NotFoundError(absl::StrCat(
        model_dir,
        " has no chat template (chat_template.jinja, or chat_template in "
        "tokenizer_config.json): use text prompts with this model"));
  }

  std::unique_ptr<ChatTemplate> chat(new ChatTemplate);
  Sha256 digest;
  for (const auto& [name, source] : *sources) {
    RustTemplate* handle = nullptr;
    auto made = CallRust([&, &source = source](RustBuffer* out) {
      return dissonance_template_new(source.data(), source.size(), &handle,
                                     out);
    });
    if (!made.ok()) {
      return Annotate(made.status(),
                      absl::StrCat(model_dir, ": template '", name, "'"));
    }
    chat->templates_[name].reset(handle);
    digest.UpdateFramed(name);
    digest.UpdateFramed(source);
  }
  chat->special_tokens_ = std::move(config->special_tokens);
  digest.UpdateFramed(Json(chat->special_tokens_).dump());
  chat->digest_ = digest.Finish();
  return chat;
}

absl::StatusOr<std::string> ChatTemplate::Render(
    const Json& messages, bool add_generation_prompt, const Json& variables,
    std::optional<int64_t> now) const {
  if (!messages.is_array() || !variables.is_object()) {
    return absl::InvalidArgumentError(
        "chat: messages must be an array and variables an object");
  }
  Json context = Json::object();
  for (const auto& [name, token] : special_tokens_) context[name] = token;
  // transformers defines these also where the caller gave none.
  context["tools"] = nullptr;
  context["documents"] = nullptr;
  for (const auto& [name, value] : variables.items()) context[name] = value;
  context["messages"] = messages;
  context["add_generation_prompt"] = add_generation_prompt;

  std::string text;
  try {
    text = context.dump();
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("chat: not UTF-8 text: ", error.what()));
  }
  if (text.size() > kMaxInputBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("chat has ", text.size(), " bytes of JSON; the limit is ",
                     kMaxInputBytes));
  }
  auto chosen = context["tools"].is_null() ? templates_.find(kDefault)
                                           : templates_.find(kToolUse);
  if (chosen == templates_.end()) chosen = templates_.find(kDefault);
  if (chosen == templates_.end()) {
    std::vector<absl::string_view> names;
    for (const auto& [name, handle] : templates_) names.push_back(name);
    return absl::InvalidArgumentError(
        absl::StrCat("the model has no chat template named default, only ",
                     absl::StrJoin(names, ", ")));
  }
  return CallRust([&](RustBuffer* out) {
    return dissonance_template_render(chosen->second.get(), text.data(),
                                      text.size(),
                                      now.has_value() ? &*now : nullptr, out);
  });
}

}  // namespace dissonance
