#include "src/compute/text/tokenizer_files.h"

#include <array>
#include <charconv>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kConfigLimitBytes = 16ull << 20;
constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kAddedTokens[] = "added_tokens_decoder";
constexpr char kSpecialTokensFile[] = "special_tokens_map.json";
constexpr std::array<absl::string_view, 7> kSpecialTokenNames = {
    "bos_token", "eos_token", "unk_token", "sep_token",
    "pad_token", "cls_token", "mask_token"};

absl::Status Wrong(absl::string_view file, absl::string_view field,
                   absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": ", field, " must be ", wanted));
}

// A string, or an object with the string in `content`. Flags that are absent
// have the defaults of the tokenizers library.
absl::StatusOr<AddedToken> ParseToken(const Json& value, bool special,
                                      absl::string_view file,
                                      absl::string_view field) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    token.special = special;
    token.normalized = !special;
    return token;
  }
  if (!value.is_object() || !value.contains("content") ||
      !value["content"].is_string()) {
    return Wrong(file, field, "a string or an object with a string in content");
  }
  auto flag = [&value](const char* name, bool otherwise) {
    auto found = value.find(name);
    return found != value.end() && found->is_boolean() ? found->get<bool>()
                                                       : otherwise;
  };
  token.content = value["content"].get<std::string>();
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = special || flag("special", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

// {"128000": {"content": ...}, ...}, by id.
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokensDecoder(
    const Json& decoder) {
  if (!decoder.is_object())
    return Wrong(kConfigFile, kAddedTokens, "an object");
  std::map<int64_t, AddedToken> by_id;
  for (const auto& [key, value] : decoder.items()) {
    const std::string field = absl::StrCat(kAddedTokens, ".", key);
    int64_t id = 0;
    const char* end = key.data() + key.size();
    if (auto [rest, error] = std::from_chars(key.data(), end, id);
        error != std::errc() || rest != end) {
      return Wrong(kConfigFile, field, "keyed by a token id");
    }
    ASSIGN_OR_RETURN(by_id[id], ParseToken(value, false, kConfigFile, field));
  }
  std::vector<AddedToken> tokens;
  tokens.reserve(by_id.size());
  for (auto& [id, token] : by_id) tokens.push_back(std::move(token));
  return tokens;
}

absl::Status AddSpecialTokens(const Json& json, absl::string_view file,
                              std::map<std::string, AddedToken>& named) {
  for (absl::string_view name : kSpecialTokenNames) {
    auto found = json.find(std::string(name));
    if (found == json.end() || found->is_null()) continue;
    ASSIGN_OR_RETURN(AddedToken token, ParseToken(*found, true, file, name));
    named[std::string(name)] = std::move(token);
  }
  return absl::OkStatus();
}

// extra_special_tokens, before transformers 5 additional_special_tokens: a
// list, or an object from names to tokens.
absl::Status AddExtraTokens(const Json& json, absl::string_view file,
                            std::vector<AddedToken>& tokens) {
  for (const char* name :
       {"extra_special_tokens", "additional_special_tokens"}) {
    auto found = json.find(name);
    if (found == json.end() || found->is_null()) continue;
    if (!found->is_structured()) return Wrong(file, name, "a list");
    for (const Json& value : *found) {
      ASSIGN_OR_RETURN(AddedToken token, ParseToken(value, true, file, name));
      tokens.push_back(std::move(token));
    }
    break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadOptionalFile(
    const std::string& model_dir, const std::string& name,
    uint64_t limit_bytes) {
  absl::StatusOr<std::string> contents =
      ReadFile(absl::StrCat(model_dir, "/", name), limit_bytes);
  if (absl::IsNotFound(contents.status())) return std::nullopt;
  if (!contents.ok()) return contents.status();
  return *std::move(contents);
}

absl::StatusOr<Json> ParseJsonObject(const std::string& text,
                                     const std::string& name) {
  try {
    Json json = Json::parse(text);
    if (json.is_object()) return json;
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is not JSON: ", error.what()));
  }
  return absl::InvalidArgumentError(absl::StrCat(name, ": not a JSON object"));
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(
    const std::string& model_dir) {
  TokenizerConfig config;
  std::map<std::string, AddedToken> named;
  ASSIGN_OR_RETURN(auto text,
                   ReadOptionalFile(model_dir, kConfigFile, kConfigLimitBytes));
  if (text.has_value()) {
    ASSIGN_OR_RETURN(config.json, ParseJsonObject(*text, kConfigFile));
  }
  RETURN_IF_ERROR(AddSpecialTokens(config.json, kConfigFile, named));
  std::vector<AddedToken> extra;
  RETURN_IF_ERROR(AddExtraTokens(config.json, kConfigFile, extra));

  if (auto found = config.json.find(kAddedTokens); found != config.json.end()) {
    ASSIGN_OR_RETURN(config.added_tokens, ParseAddedTokensDecoder(*found));
  } else {
    // transformers reads this file only beside configurations that are older
    // than added_tokens_decoder; there it wins.
    ASSIGN_OR_RETURN(
        auto map_text,
        ReadOptionalFile(model_dir, kSpecialTokensFile, kConfigLimitBytes));
    if (map_text.has_value()) {
      ASSIGN_OR_RETURN(Json map,
                       ParseJsonObject(*map_text, kSpecialTokensFile));
      RETURN_IF_ERROR(AddSpecialTokens(map, kSpecialTokensFile, named));
      RETURN_IF_ERROR(AddExtraTokens(map, kSpecialTokensFile, extra));
    }
  }
  for (absl::string_view name : kSpecialTokenNames) {
    auto found = named.find(std::string(name));
    if (found == named.end()) continue;
    config.special_tokens[found->first] = found->second.content;
    config.required_tokens.push_back(found->second);
  }
  config.required_tokens.insert(config.required_tokens.end(), extra.begin(),
                                extra.end());
  return config;
}

}  // namespace dissonance
