// Questions to be answered freely, from JSON lines:
//
//   {"id": "open_01", "category": "ambiguous_belief", "difficulty": "easy",
//    "question": "How does the pull of gravity weaken with distance?"}
//
// category and difficulty may be null or absent. Other fields are ignored.
// Values; functions are thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<OpenQuestion> questions,
//                    ParseOpenQuestions(spec.data(), "open.jsonl"));
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_QUESTIONS_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_QUESTIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

struct OpenQuestion {
  std::string id;
  std::optional<std::string> category;
  std::optional<std::string> difficulty;
  std::string question;
};

// The questions in the file's order. INVALID_ARGUMENT with file, line and field
// for a missing or empty field, a wrong type, a repeated id, a line that is not
// UTF-8 or not a JSON object, or a file without questions.
absl::StatusOr<std::vector<OpenQuestion>> ParseOpenQuestions(
    absl::string_view text, absl::string_view file_name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_QUESTIONS_H_
