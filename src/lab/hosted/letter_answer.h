// Which option a model names that answers in words. Pure; thread safe.
//
//   LetterIn("The answer is **B**.");  // 1
#ifndef DISSONANCE_LAB_HOSTED_LETTER_ANSWER_H_
#define DISSONANCE_LAB_HOSTED_LETTER_ANSWER_H_

#include <optional>

#include "absl/strings/string_view.h"

namespace dissonance {

// The letter that the reply is, that it begins with ("B) ...", "B. ...",
// "**B**: ..."), or that follows "answer" in it ("The answer is B", "Answer:
// (B)"); 0 to 3. nullopt if there is none, or if these disagree: a guess would
// be an answer that nobody gave.
std::optional<int> LetterIn(absl::string_view reply);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_HOSTED_LETTER_ANSWER_H_
