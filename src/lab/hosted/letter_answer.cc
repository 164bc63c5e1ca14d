#include "src/lab/hosted/letter_answer.h"

#include <cstddef>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance {
namespace {

// What models put around a letter.
constexpr absl::string_view kAround = " \t\r\n*_`\"'()[]{}<>$.:;,!";
// What ends a letter that begins a reply.
constexpr absl::string_view kBehind = ").:*]\r\n";
constexpr char kAnswer[] = "answer";
constexpr size_t kAnswerSize = sizeof(kAnswer) - 1;

// Begins with what is not around.
absl::string_view Stripped(absl::string_view text) {
  const size_t begin = text.find_first_not_of(kAround);
  return begin == absl::string_view::npos ? "" : text.substr(begin);
}

std::optional<int> OptionOf(char letter) {
  return McqOption(std::string(1, absl::ascii_toupper(letter)));
}

// Two readings of a reply that have to agree where both are there.
class Reading {
 public:
  void Add(std::optional<int> option) {
    if (!option.has_value()) return;
    if (option_.has_value() && *option_ != *option) disagrees_ = true;
    option_ = option;
  }
  std::optional<int> option() const {
    return disagrees_ ? std::nullopt : option_;
  }

 private:
  std::optional<int> option_;
  bool disagrees_ = false;
};

// The letter behind "answer", "answer is", "answer:", at `rest`'s beginning.
std::optional<int> LetterBehindAnswer(absl::string_view rest) {
  rest = Stripped(rest);
  for (const absl::string_view word : {"is", "would be", "option", "choice"}) {
    if (absl::StartsWithIgnoreCase(rest, word) && rest.size() > word.size() &&
        !absl::ascii_isalnum(static_cast<unsigned char>(rest[word.size()]))) {
      rest = Stripped(rest.substr(word.size()));
    }
  }
  if (rest.empty() || !absl::ascii_isupper(rest[0])) return std::nullopt;
  const bool ends = rest.size() == 1 || absl::string_view(kAround).find(
                                            rest[1]) != absl::string_view::npos;
  if (!ends) return std::nullopt;
  // "answer: A body ..." has an article.
  if (rest[0] == 'A' && rest.size() > 2 && rest[1] == ' ' &&
      absl::ascii_isalpha(static_cast<unsigned char>(rest[2]))) {
    return std::nullopt;
  }
  return OptionOf(rest[0]);
}

}  // namespace

std::optional<int> LetterIn(absl::string_view reply) {
  const absl::string_view text = Stripped(reply);
  if (text.empty()) return std::nullopt;
  if (Stripped(text.substr(1)).empty()) return OptionOf(text[0]);
  Reading reading;
  if (absl::ascii_isupper(text[0]) &&
      kBehind.find(text[1]) != absl::string_view::npos) {
    reading.Add(OptionOf(text[0]));
  }
  const std::string lower = absl::AsciiStrToLower(text);
  for (size_t at = lower.find(kAnswer); at != std::string::npos;
       at = lower.find(kAnswer, at + 1)) {
    reading.Add(LetterBehindAnswer(text.substr(at + kAnswerSize)));
  }
  return reading.option();
}

}  // namespace dissonance
