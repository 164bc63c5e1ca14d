#include "src/compute/text/token_bytes.h"

#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr int kBytes = 256;

// UTF-8 of a code point below U+0800.
std::string Utf8(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

// The characters that byte-level vocabularies write for each byte (Radford et
// al. 2019): its own where that can be seen, else one from U+0100 on.
std::map<std::string, char, std::less<>> MakeByteAlphabet() {
  std::map<std::string, char, std::less<>> bytes;
  int next = kBytes;
  for (int byte = 0; byte < kBytes; ++byte) {
    const bool is_seen =
        (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    bytes[Utf8(is_seen ? byte : next++)] = static_cast<char>(byte);
  }
  return bytes;
}

// The bytes of a vocabulary entry that is no text by itself: "<0xE2>", or
// characters of the byte alphabet.
std::string BytesOfPiece(absl::string_view piece) {
  static const auto& alphabet =
      *new std::map<std::string, char, std::less<>>(MakeByteAlphabet());
  absl::string_view hex = piece;
  if (absl::ConsumePrefix(&hex, "<0x") && absl::ConsumeSuffix(&hex, ">") &&
      hex.size() == 2) {
    return absl::HexStringToBytes(hex);
  }
  std::string bytes;
  for (size_t i = 0; i < piece.size();) {
    const size_t size = (piece[i] & 0x80) == 0 ? 1 : 2;
    const auto found = alphabet.find(piece.substr(i, size));
    if (found == alphabet.end()) return std::string(piece);
    bytes += found->second;
    i += size;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<TokenBytes> TokenBytes::Create(const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(std::vector<int32_t> before,
                   tokenizer.Encode("a", /*add_special_tokens=*/false));
  ASSIGN_OR_RETURN(std::string text,
                   tokenizer.Decode(before, /*skip_special_tokens=*/false));
  return TokenBytes(tokenizer, std::move(before), std::move(text));
}

absl::StatusOr<std::string> TokenBytes::Of(int32_t id,
                                           bool skip_special_tokens) const {
  std::vector<int32_t> ids = before_;
  ids.push_back(id);
  ASSIGN_OR_RETURN(const std::string text,
                   tokenizer_.Decode(ids, skip_special_tokens));
  absl::string_view added = text;
  if (absl::ConsumePrefix(&added, text_before_) &&
      !absl::StrContains(added, kReplacement)) {
    return std::string(added);
  }
  ASSIGN_OR_RETURN(const std::string piece, tokenizer_.Piece(id));
  return BytesOfPiece(piece);
}

}  // namespace dissonance
