#include "client/cli/prompt_options.h"

#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/parsed_option.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kTextLimitBytes = 16 << 20;
constexpr uint64_t kInputLimitBytes = uint64_t{1} << 30;

// The text itself, or standard input for "-". What ends the last line there is
// the shell's or the editor's, not the prompt's.
absl::StatusOr<std::string> PromptText(const std::string& prompt) {
  if (prompt != "-") return prompt;
  ASSIGN_OR_RETURN(const std::string text, ReadInput("-", kTextLimitBytes));
  absl::string_view line = text;
  if (absl::ConsumeSuffix(&line, "\n")) absl::ConsumeSuffix(&line, "\r");
  return std::string(line);
}

absl::StatusOr<v1::Input> SinglePrompt(const PromptOptions& options) {
  v1::Input input;
  if (options.prompt.has_value()) {
    ASSIGN_OR_RETURN(*input.mutable_text(), PromptText(*options.prompt));
    RETURN_IF_ERROR(CheckUtf8(input.text(), "--prompt"));
    input.set_skip_special_tokens(options.skip_special_tokens);
  } else if (!options.chat.empty()) {
    ASSIGN_OR_RETURN(*input.mutable_chat(),
                     ReadChat(options.chat, kTextLimitBytes));
    input.mutable_chat()->set_add_generation_prompt(true);
  } else {
    input.mutable_tokens()->mutable_ids()->Add(options.tokens.begin(),
                                               options.tokens.end());
  }
  return input;
}

}  // namespace

void AddPromptOptions(CLI::App& app, PromptOptions& options) {
  CLI::Option_group& source = *app.add_option_group("Prompt");
  source.add_option("--prompt", options.prompt,
                    "Text; -: standard input, less the line break at its end");
  source.add_option("--chat", options.chat,
                    "JSON file [{\"role\": R, \"content\": C}, ...], which an "
                    "assistant's turn follows; -: stdin");
  source.add_option("--tokens", options.tokens, "Token ids: 1,2,3")
      ->delimiter(',')
      ->check(AtLeast(0));
  source.add_option("--input", options.input,
                    "JSON lines {\"id\", \"prompt\" | \"chat\" | \"tokens\", "
                    "\"add_special_tokens\"?, \"labels\"?, \"group\"?}; -: "
                    "stdin");
  source.require_option(1);
  app.add_flag("--no-special-tokens", options.skip_special_tokens,
               "Encode --prompt without adding special tokens");
}

absl::StatusOr<std::vector<InputRow>> ReadPrompts(
    const PromptOptions& options) {
  if (options.skip_special_tokens && !options.prompt.has_value()) {
    return UsageError(
        "--no-special-tokens is for --prompt; rows of --input say "
        "\"add_special_tokens\": false, and chats and token ids get none");
  }
  if (!options.input.empty()) {
    ASSIGN_OR_RETURN(const std::string text,
                     ReadInput(options.input, kInputLimitBytes));
    return ParseInputRows(text, InputLabel(options.input));
  }
  InputRow row;
  row.id = 1;
  ASSIGN_OR_RETURN(row.input, SinglePrompt(options));
  row.input.set_id("1");
  return std::vector<InputRow>{std::move(row)};
}

}  // namespace dissonance::cli
