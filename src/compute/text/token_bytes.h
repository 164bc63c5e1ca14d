// What each token adds to a text that it does not begin, byte for byte: a
// token may hold a part of a character only. The bytes of all tokens of a text
// are the text's, but for what tokenizers do with the space at its start.
// Thread safe. Borrows the tokenizer.
//
//   ASSIGN_OR_RETURN(const TokenBytes bytes, TokenBytes::Create(tokenizer));
//   ASSIGN_OR_RETURN(std::string the, bytes.Of(262, true));  //  " the"
#ifndef DISSONANCE_COMPUTE_TEXT_TOKEN_BYTES_H_
#define DISSONANCE_COMPUTE_TEXT_TOKEN_BYTES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/text/tokenizer.h"

namespace dissonance {

class TokenBytes {
 public:
  static absl::StatusOr<TokenBytes> Create(const Tokenizer& tokenizer);

  // Empty for a special token if those are skipped, and for an id without a
  // vocabulary entry. Errors as Tokenizer::Decode.
  absl::StatusOr<std::string> Of(int32_t id, bool skip_special_tokens) const;

 private:
  TokenBytes(const Tokenizer& tokenizer, std::vector<int32_t> before,
             std::string text_before)
      : tokenizer_(tokenizer),
        before_(std::move(before)),
        text_before_(std::move(text_before)) {}

  const Tokenizer& tokenizer_;
  // Some text for the token to follow.
  const std::vector<int32_t> before_;
  const std::string text_before_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_TOKEN_BYTES_H_
