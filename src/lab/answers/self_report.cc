#include "src/lab/answers/self_report.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

constexpr absl::string_view kEmphasis = " \t\r*_`\"";

absl::string_view WithoutEmphasis(absl::string_view text) {
  const size_t begin = text.find_first_not_of(kEmphasis);
  if (begin == absl::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kEmphasis) + 1 - begin);
}

// A number in digits, with what is joined to it, at the beginning of `text`.
std::optional<double> NumberAt(absl::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains(".,+-", c);
  });
  absl::string_view word =
      text.substr(0, static_cast<size_t>(end - text.begin()));
  while (absl::ConsumeSuffix(&word, ".") || absl::ConsumeSuffix(&word, ",")) {
  }
  double number = 0;
  if (word.find_first_not_of("0123456789.") != absl::string_view::npos ||
      !absl::SimpleAtod(word, &number)) {
    return std::nullopt;
  }
  return number;
}

// What stands behind the first of ":", "=" and " is ".
absl::string_view ValueIn(absl::string_view text) {
  const size_t mark = text.find_first_of(":=");
  if (mark != absl::string_view::npos) return text.substr(mark + 1);
  const size_t verb = text.find(" is ");
  return verb == absl::string_view::npos ? "" : text.substr(verb + 4);
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
  constexpr absl::string_view kWord = "confidence";
  const std::string lower = absl::AsciiStrToLower(answer);
  for (const absl::string_view line : absl::StrSplit(lower, '\n')) {
    const size_t at = FindWord(line, kWord, 0);
    if (at == absl::string_view::npos) continue;
    const std::optional<double> number =
        NumberAt(WithoutEmphasis(ValueIn(line.substr(at + kWord.size()))));
    if (!number.has_value()) continue;
    const bool is_share = *number > 0 && *number < 1;
    return is_share || *number > 100 ? std::nullopt : number;
  }
  return std::nullopt;
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
