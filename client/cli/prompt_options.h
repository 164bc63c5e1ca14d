// The options that say what goes in: one prompt on the command line, or a file
// of rows. Thread compatible.
//
//   auto options = std::make_shared<PromptOptions>();
//   AddPromptOptions(app, *options);
//   ...
//   ASSIGN_OR_RETURN(std::vector<InputRow> rows, ReadPrompts(*options));
#ifndef DISSONANCE_CLIENT_CLI_PROMPT_OPTIONS_H_
#define DISSONANCE_CLIENT_CLI_PROMPT_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/input_rows.h"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

// Exactly one of the first four is given.
struct PromptOptions {
  std::optional<std::string> prompt;
  std::string chat;
  std::vector<int32_t> tokens;
  std::string input;
  // Of `prompt` alone; rows say it themselves.
  bool skip_special_tokens = false;
};

// Adds --prompt, --chat, --tokens, --input and --no-special-tokens. `options`
// outlives the parsing.
void AddPromptOptions(CLI::App& app, PromptOptions& options);

// At least one row. Errors name file, line and field.
absl::StatusOr<std::vector<InputRow>> ReadPrompts(const PromptOptions& options);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PROMPT_OPTIONS_H_
