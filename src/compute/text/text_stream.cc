#include "src/compute/text/text_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Tokens before the next one that can change its text.
constexpr size_t kContext = 6;
// Tokens that a character may take.
constexpr size_t kCharacterTokens = 4;
constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Bytes at the end of `text` that begin `stop`.
size_t OverlapAtEnd(absl::string_view text, absl::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size()); length > 0;
       --length) {
    if (absl::EndsWith(text, stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer,
                       absl::Span<const int32_t> prompt,
                       std::vector<std::string> stops)
    : tokenizer_(tokenizer), stops_(std::move(stops)) {
  // Not from within a character, if that can be had.
  const size_t most = std::min(prompt.size(), kContext + kCharacterTokens);
  for (size_t size = std::min(prompt.size(), kContext); size <= most; ++size) {
    const auto context = prompt.subspan(prompt.size() - size);
    tokens_.assign(context.begin(), context.end());
    const auto text = tokenizer_.Decode(tokens_, /*skip_special_tokens=*/true);
    if (text.ok() && !absl::StrContains(*text, kReplacement)) break;
  }
  known_ = tokens_.size();
}

absl::StatusOr<std::string> TextStream::Decode(bool whole) {
  const auto all = absl::MakeConstSpan(tokens_);
  ASSIGN_OR_RETURN(const std::string before,
                   tokenizer_.Decode(all.subspan(0, known_),
                                     /*skip_special_tokens=*/true));
  ASSIGN_OR_RETURN(const std::string text,
                   tokenizer_.Decode(all, /*skip_special_tokens=*/true));
  if (whole && absl::EndsWith(text, kReplacement)) return std::string();
  absl::string_view known = before;
  // A character that was cut there is completed now.
  while (!absl::StartsWith(text, known) &&
         absl::ConsumeSuffix(&known, kReplacement)) {
  }
  std::string added;
  if (absl::StartsWith(text, known)) {
    added = text.substr(known.size());
  } else {
    // Known text can't be taken back, though the tokens now say otherwise.
    ASSIGN_OR_RETURN(added, tokenizer_.Decode(all.subspan(known_),
                                              /*skip_special_tokens=*/true));
  }
  known_ = tokens_.size();
  boundaries_.push_back(known_);
  Forget();
  return added;
}

void TextStream::Forget() {
  size_t cut = 0;
  while (!boundaries_.empty() && boundaries_.front() + kContext <= known_) {
    cut = boundaries_.front();
    boundaries_.pop_front();
  }
  if (cut == 0) return;
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<int64_t>(cut));
  known_ -= cut;
  for (size_t& boundary : boundaries_) boundary -= cut;
}

TextStream::Piece TextStream::Release() {
  size_t stop_at = std::string::npos;
  size_t overlap = 0;
  for (const std::string& stop : stops_) {
    stop_at = std::min(stop_at, held_.find(stop));
    overlap = std::max(overlap, OverlapAtEnd(held_, stop));
  }
  Piece piece;
  if (stop_at != std::string::npos) {
    piece.has_stopped = true;
    piece.text = held_.substr(0, stop_at);
    held_.clear();
    return piece;
  }
  piece.text = held_.substr(0, held_.size() - overlap);
  held_.erase(0, piece.text.size());
  return piece;
}

absl::StatusOr<TextStream::Piece> TextStream::Add(int32_t token) {
  tokens_.push_back(token);
  ASSIGN_OR_RETURN(const std::string text, Decode(/*whole=*/true));
  held_ += text;
  return Release();
}

absl::StatusOr<std::string> TextStream::Finish() {
  ASSIGN_OR_RETURN(const std::string text, Decode(/*whole=*/false));
  held_ += text;
  return std::exchange(held_, {});
}

}  // namespace dissonance
