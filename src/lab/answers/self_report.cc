#include "src/lab/answers/self_report.h"

#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "re2/re2.h"

namespace dissonance {
namespace {

constexpr absl::string_view kEmphasis = " \t\r*_`\"";

absl::string_view WithoutEmphasis(absl::string_view text) {
  const size_t begin = text.find_first_not_of(kEmphasis);
  if (begin == absl::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kEmphasis) + 1 - begin);
}

// A name for the number, the number, and nothing behind it that would make it
// part of a range, a fraction or a sentence. In lower case, without emphasis.
constexpr char kStatement[] =
    R"(confidence(?: level| score| rating)?)"
    R"((?: in (?:this|it|(?:my|the|this|that) answer))?)"
    R"((?:\s*\([^()]*\))?(?:\s*[:=]\s*|\s+is\s+))"
    R"((\d+(?:\.\d+)?))"
    R"(\s*(?:%|percent|/\s*100|out of 100)?\s*(?:$|[.,;:!()}\]](?:\D|$)))";
// What may stand before it at the beginning of a line: list marks and "my".
constexpr char kLineBegin[] = R"(^[\s>#+-]*(?:\d+[.)]\s*)?(?:my )?)";

// The number of the first line that holds `pattern`.
std::optional<double> FirstNumber(absl::string_view text, const RE2& pattern) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    double number = 0;
    if (RE2::PartialMatch(line, pattern, &number)) return number;
  }
  return std::nullopt;
}

// Where `word` begins in `line`, from `from` on, and no letter stands beside
// it.
size_t FindWord(absl::string_view line, absl::string_view word, size_t from) {
  const auto is_letter = [&](size_t at) {
    return at < line.size() &&
           absl::ascii_isalpha(static_cast<unsigned char>(line[at]));
  };
  for (size_t at = line.find(word, from); at != absl::string_view::npos;
       at = line.find(word, at + 1)) {
    if ((at == 0 || !is_letter(at - 1)) && !is_letter(at + word.size())) {
      return at;
    }
  }
  return absl::string_view::npos;
}

}  // namespace

std::optional<double> ReadConfidence(absl::string_view answer) {
  static const RE2& at_line_begin =
      *new RE2(absl::StrCat(kLineBegin, kStatement));
  static const RE2& anywhere = *new RE2(absl::StrCat("\\b", kStatement));
  std::string plain = absl::AsciiStrToLower(answer);
  std::erase_if(plain, [](char c) { return absl::StrContains("*_`\"", c); });
  std::optional<double> number = FirstNumber(plain, at_line_begin);
  if (!number.has_value()) number = FirstNumber(plain, anywhere);
  if (!number.has_value()) return std::nullopt;
  const bool is_share = *number > 0 && *number < 1;
  return is_share || *number > 100 ? std::nullopt : number;
}

std::optional<std::string> ReadReason(absl::string_view answer) {
  constexpr absl::string_view kWord = "reason";
  for (const absl::string_view line : absl::StrSplit(answer, '\n')) {
    const std::string lower = absl::AsciiStrToLower(line);
    for (size_t at = FindWord(lower, kWord, 0); at != absl::string_view::npos;
         at = FindWord(lower, kWord, at + 1)) {
      absl::string_view rest = WithoutEmphasis(line.substr(at + kWord.size()));
      if (!absl::ConsumePrefix(&rest, ":")) continue;
      const absl::string_view reason = WithoutEmphasis(rest);
      if (!reason.empty()) return std::string(reason);
    }
  }
  return std::nullopt;
}

}  // namespace dissonance
