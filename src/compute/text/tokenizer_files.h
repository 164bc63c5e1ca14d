// The files of a model directory that say how text becomes tokens, as they
// are on disk and as transformers 5 reads them. Values; thread safe.
//
//   ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(model_dir));
//   std::string bos = config.special_tokens["bos_token"];
#ifndef DISSONANCE_COMPUTE_TEXT_TOKENIZER_FILES_H_
#define DISSONANCE_COMPUTE_TEXT_TOKENIZER_FILES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// A token that is matched in the text before the vocabulary is used. The
// flags are those of the tokenizers library.
struct AddedToken {
  std::string content;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

// tokenizer_config.json and special_tokens_map.json together. A model
// directory may lack both.
struct TokenizerConfig {
  // All of tokenizer_config.json; an empty object if there is none.
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  // bos_token, eos_token, unk_token, sep_token, pad_token, cls_token and
  // mask_token, where set.
  std::map<std::string, std::string> special_tokens;
  // Tokens that the tokenizer must have, with exactly these flags.
  std::vector<AddedToken> added_tokens;
  // Special tokens that are added where no added token has their content.
  std::vector<AddedToken> required_tokens;
};

// INVALID_ARGUMENT names file and field.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(
    const std::string& model_dir);

// The contents of a file of the model directory, nullopt if it is not there.
absl::StatusOr<std::optional<std::string>> ReadOptionalFile(
    const std::string& model_dir, const std::string& name,
    uint64_t limit_bytes);

// A JSON object. INVALID_ARGUMENT, with `name`, if `text` is something else.
absl::StatusOr<nlohmann::ordered_json> ParseJsonObject(const std::string& text,
                                                       const std::string& name);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_TOKENIZER_FILES_H_
