// Text of a generation as its tokens come: only whole characters, and nothing
// that may still turn out to be the beginning of a stop string. All pieces
// together are the text of all tokens. Used by one thread; borrows the
// tokenizer.
//
//   TextStream stream(tokenizer, prompt, {"\n\n"});
//   ASSIGN_OR_RETURN(TextStream::Piece piece, stream.Add(token));
//   out << piece.text;
#ifndef DISSONANCE_COMPUTE_TEXT_TEXT_STREAM_H_
#define DISSONANCE_COMPUTE_TEXT_TEXT_STREAM_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/compute/text/tokenizer.h"

namespace dissonance {

class TextStream {
 public:
  struct Piece {
    std::string text;          // to append; may be empty
    bool has_stopped = false;  // a stop string came; it is not in the text
  };

  // The text goes on from `prompt`, whose last tokens decide about spaces.
  TextStream(const Tokenizer& tokenizer, absl::Span<const int32_t> prompt,
             std::vector<std::string> stops);

  // Special tokens have no text. Errors as Tokenizer::Decode.
  absl::StatusOr<Piece> Add(int32_t token);

  // What was held back. Characters that were cut become U+FFFD.
  absl::StatusOr<std::string> Finish();

 private:
  // Text of the tokens behind those whose text is known, `whole`: only if it
  // ends with a whole character.
  absl::StatusOr<std::string> Decode(bool whole);
  // Drops tokens that are far behind, up to the end of a character.
  void Forget();
  // Moves text from held_ to the result, up to a stop string.
  Piece Release();

  const Tokenizer& tokenizer_;
  const std::vector<std::string> stops_;
  // The last tokens: those whose text is known, which give the context, then
  // those whose text is still open.
  std::vector<int32_t> tokens_;
  size_t known_ = 0;
  std::deque<size_t> boundaries_;  // where whole characters ended
  std::string held_;               // known text that may begin a stop string
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_TEXT_STREAM_H_
