#include "src/compute/text/tokenizer.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/text/tokenizer_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kTokenizerLimitBytes = 512ull << 20;
constexpr uint64_t kConfigLimitBytes = 16ull << 20;
constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr char kMetaspace[] = "\u2581";

Json TokenListJson(const std::vector<AddedToken>& tokens) {
  Json list = Json::array();
  for (const AddedToken& token : tokens) {
    list.push_back({{"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

bool Flag(const Json& json, const char* name, bool otherwise) {
  auto found = json.find(name);
  return found != json.end() && found->is_boolean() ? found->get<bool>()
                                                    : otherwise;
}

// transformers 5 builds a tokenizer of class LlamaTokenizer from the
// vocabulary and merges alone: the normalizer, pre-tokenizer and decoder of
// tokenizer.json give way to the class's own, by which only the text's start
// gets a space (with "legacy", also what follows a special token). It leaves
// the class for that of the model type where they differ, as Mistral's do.
// Byte-level files that name the class by mistake are left as they are.
Json LlamaPipeline(const Json& config, absl::string_view model_type,
                   absl::string_view tokenizer_json) {
  auto found = config.find("tokenizer_class");
  const std::string name = found != config.end() && found->is_string()
                               ? found->get<std::string>()
                               : "";
  if (name != "LlamaTokenizer" && name != "LlamaTokenizerFast") return nullptr;
  if (!model_type.empty() && model_type != "llama") return nullptr;
  if (absl::StrContains(tokenizer_json, "\"ByteLevel\"")) return nullptr;

  const bool add_prefix_space = Flag(config, "add_prefix_space", true);
  const char* scheme = !add_prefix_space               ? "never"
                       : Flag(config, "legacy", false) ? "always"
                                                       : "first";
  Json decoders = Json::array({{{"type", "Replace"},
                                {"pattern", {{"String", kMetaspace}}},
                                {"content", " "}},
                               {{"type", "ByteFallback"}},
                               {{"type", "Fuse"}}});
  if (add_prefix_space) {
    decoders.push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"pre_tokenizer",
           {{"type", "Metaspace"},
            {"replacement", kMetaspace},
            {"prepend_scheme", scheme},
            {"split", false}}},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}}};
}

// config.json's model_type; empty if there is none. Whether config.json is
// well formed is the model loader's business.
absl::StatusOr<std::string> ReadModelType(const std::string& model_dir) {
  ASSIGN_OR_RETURN(
      auto text, ReadOptionalFile(model_dir, "config.json", kConfigLimitBytes));
  if (!text.has_value()) return std::string();
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::string();
  auto found = json.find("model_type");
  return found != json.end() && found->is_string() ? found->get<std::string>()
                                                   : std::string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::string& model_dir) {
  ASSIGN_OR_RETURN(auto json, ReadOptionalFile(model_dir, kTokenizerFile,
                                               kTokenizerLimitBytes));
  if (!json.has_value()) {
    return absl::NotFoundError(absl::StrCat(
        model_dir, " has no ", kTokenizerFile,
        ": only token ids can be used with this model. Save it with "
        "AutoTokenizer.from_pretrained(...).save_pretrained(...) to add one."));
  }
  auto annotate = [&model_dir](const absl::Status& status) {
    return Annotate(status, absl::StrCat("tokenizer of ", model_dir));
  };
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_dir);
  if (!config.ok()) return annotate(config.status());
  ASSIGN_OR_RETURN(std::string model_type, ReadModelType(model_dir));
  const Json options = {
      {"added_tokens", TokenListJson(config->added_tokens)},
      {"required_tokens", TokenListJson(config->required_tokens)},
      {"split_special_tokens",
       Flag(config->json, "split_special_tokens", false)},
      {"pipeline", LlamaPipeline(config->json, model_type, *json)}};
  const std::string options_text = options.dump();

  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  RustTokenizer* handle = nullptr;
  auto made = CallRust([&](RustBuffer* out) {
    return dissonance_tokenizer_new(json->data(), json->size(),
                                    options_text.data(), options_text.size(),
                                    &handle, out);
  });
  if (!made.ok()) {
    return annotate(Annotate(made.status(), kTokenizerFile));
  }
  tokenizer->handle_.reset(handle);
  ASSIGN_OR_RETURN(std::string size, CallRust([&](RustBuffer* out) {
                     return dissonance_tokenizer_vocab_size(handle, out);
                   }));
  tokenizer->vocab_size_ = Int32Values(size).at(0);
  tokenizer->special_tokens_ = std::move(config->special_tokens);

  Sha256 digest;
  digest.UpdateFramed(*json);
  digest.UpdateFramed(options_text);
  tokenizer->digest_ = digest.Finish();
  return tokenizer;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeValues(
    absl::string_view text, bool add_special_tokens, bool with_offsets) const {
  if (text.size() > kMaxTextBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("text has ", text.size(), " bytes; the limit is ",
                     kMaxTextBytes, ". Split it."));
  }
  ASSIGN_OR_RETURN(std::string values, CallRust([&](RustBuffer* out) {
                     return dissonance_tokenizer_encode(
                         handle_.get(), text.data(), text.size(),
                         add_special_tokens, with_offsets, out);
                   }));
  return Int32Values(values);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(
    absl::string_view text, bool add_special_tokens) const {
  return EncodeValues(text, add_special_tokens, /*with_offsets=*/false);
}

absl::StatusOr<Tokenizer::Encoding> Tokenizer::EncodeWithOffsets(
    absl::string_view text, bool add_special_tokens) const {
  ASSIGN_OR_RETURN(
      std::vector<int32_t> values,
      EncodeValues(text, add_special_tokens, /*with_offsets=*/true));
  Encoding encoding;
  for (size_t i = 0; i + 2 < values.size(); i += 3) {
    encoding.ids.push_back(values[i]);
    encoding.offsets.push_back({values[i + 1], values[i + 2]});
  }
  return encoding;
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              bool skip_special_tokens) const {
  if (ids.size() > kMaxIds) {
    return absl::ResourceExhaustedError(absl::StrCat(
        ids.size(), " token ids; the limit is ", kMaxIds, ". Split them."));
  }
  return CallRust([&](RustBuffer* out) {
    return dissonance_tokenizer_decode(handle_.get(), ids.data(), ids.size(),
                                       skip_special_tokens, out);
  });
}

absl::StatusOr<std::string> Tokenizer::Piece(int32_t id) const {
  return CallRust([&](RustBuffer* out) {
    return dissonance_tokenizer_piece(handle_.get(), id, out);
  });
}

absl::StatusOr<int32_t> Tokenizer::TokenId(absl::string_view piece) const {
  ASSIGN_OR_RETURN(std::string id, CallRust([&](RustBuffer* out) {
                     return dissonance_tokenizer_token_id(
                         handle_.get(), piece.data(), piece.size(), out);
                   }));
  return Int32Values(id).at(0);
}

}  // namespace dissonance
