// What an answer says of itself where it was asked how sure it is:
//
//   Gravity falls with the square of the distance.
//   Confidence: 85%
//   Reason: It is Newton's law.
//
// Only what stands there is read; nothing is guessed. Pure functions; thread
// safe.
//
//   const std::optional<double> confidence = ReadConfidence(answer);
#ifndef DISSONANCE_LAB_ANSWERS_SELF_REPORT_H_
#define DISSONANCE_LAB_ANSWERS_SELF_REPORT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace dissonance {

// 0 to 100: the number of the first line that begins with "confidence" (behind
// list marks, emphasis or "my"; also "confidence level", "in this answer" and
// the like) and goes on with ":", "=" or "is", a number, and at most "%",
// "percent", "/100", "out of 100" and punctuation; else of the first such
// words within a line. In any case. Nullopt for all else: words, a range,
// "9/10", a number beyond 100, one between 0 and 1 (0.9 may mean 90), or none
// because the answer was cut.
std::optional<double> ReadConfidence(absl::string_view answer);

// The rest of the line behind the first "reason:", in any case, without marks
// of emphasis; nullopt if there is none.
std::optional<std::string> ReadReason(absl::string_view answer);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_SELF_REPORT_H_
