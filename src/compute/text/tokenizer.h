// Text to token ids and back, with a Hugging Face tokenizer.json. Ids are
// those of transformers 5 on the same directory.
//
// Thread safe: all methods are const. Nothing is borrowed from the caller.
//
//   ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Load("/models/m"));
//   ASSIGN_OR_RETURN(std::vector<int32_t> ids,
//                    tokenizer->Encode("Hello", /*add_special_tokens=*/true));
//   ASSIGN_OR_RETURN(std::string text,
//                    tokenizer->Decode(ids, /*skip_special_tokens=*/true));
#ifndef DISSONANCE_COMPUTE_TEXT_TOKENIZER_H_
#define DISSONANCE_COMPUTE_TEXT_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/compute/text/rust_call.h"

namespace dissonance {

class Tokenizer {
 public:
  static constexpr size_t kMaxTextBytes = 16 << 20;
  static constexpr size_t kMaxIds = 4 << 20;

  // A token's place in the text, in Unicode code points: [begin, end).
  struct Offset {
    int32_t begin = 0;
    int32_t end = 0;
  };
  struct Encoding {
    std::vector<int32_t> ids;
    std::vector<Offset> offsets;
  };

  // Reads tokenizer.json and, where there, tokenizer_config.json,
  // special_tokens_map.json and config.json (for its model_type). NOT_FOUND if
  // there is no tokenizer.json; such a model works with token ids only.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      const std::string& model_dir);

  // `add_special_tokens` adds what the tokenizer puts around a text, such as a
  // bos token. Special tokens that stand in the text are matched either way.
  // INVALID_ARGUMENT if `text` is not UTF-8, RESOURCE_EXHAUSTED if it is longer
  // than kMaxTextBytes. NUL is text like any other.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool add_special_tokens) const;

  // The same ids, with the place of each; added special tokens are at 0, 0.
  absl::StatusOr<Encoding> EncodeWithOffsets(absl::string_view text,
                                             bool add_special_tokens) const;

  // Always UTF-8: a character cut by the ends of `ids` becomes U+FFFD. Ids
  // that have no vocabulary entry (rows that pad an embedding) add nothing.
  // INVALID_ARGUMENT if an id is negative.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special_tokens) const;

  // The vocabulary entry of an id, in the tokenizer's own alphabet ("\u0120the"
  // for " the" in byte-level vocabularies). NOT_FOUND if there is none.
  absl::StatusOr<std::string> Piece(int32_t id) const;

  // The id whose Piece is `piece`. NOT_FOUND if there is none.
  absl::StatusOr<int32_t> TokenId(absl::string_view piece) const;

  // Number of vocabulary entries, added tokens included. The model's
  // embedding may have more rows.
  int32_t vocab_size() const { return vocab_size_; }

  // "bos_token", "eos_token", ... to their text, where set.
  const std::map<std::string, std::string>& special_tokens() const {
    return special_tokens_;
  }

  // "sha256:..." of everything that decides the ids; the directory's path does
  // not.
  const std::string& digest() const { return digest_; }

 private:
  Tokenizer() = default;

  absl::StatusOr<std::vector<int32_t>> EncodeValues(absl::string_view text,
                                                    bool add_special_tokens,
                                                    bool with_offsets) const;

  RustTokenizerPtr handle_;
  int32_t vocab_size_ = 0;
  std::map<std::string, std::string> special_tokens_;
  std::string digest_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_TOKENIZER_H_
