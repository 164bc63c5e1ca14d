// Multiple-choice questions with four options, from JSON lines:
//
//   {"id": "q1", "world_label": "true_world", "category": "conflict",
//    "difficulty": "hard", "question": "How does ...?",
//    "options": {"A": "...", "B": "...", "C": "...", "D": "..."},
//    "correct_answer": "A", "false_answer": "B"}
//
// world_label is true_world, false_world, null or absent: the world in which
// correct_answer is the right one. difficulty and false_answer may be null or
// absent. Other fields are ignored. Values; functions are thread safe.
#ifndef DISSONANCE_LAB_EVAL_MCQ_DATA_H_
#define DISSONANCE_LAB_EVAL_MCQ_DATA_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace dissonance {

inline constexpr int kMcqOptionCount = 4;
inline constexpr absl::string_view kTrueWorld = "true_world";
inline constexpr absl::string_view kFalseWorld = "false_world";

// "A" to "D". REQUIRES: 0 <= option < kMcqOptionCount.
std::string McqLetter(int option);

// The option that a letter names; nullopt for anything but "A" to "D".
std::optional<int> McqOption(absl::string_view letter);

// One question. Options are numbered 0 to 3 for A to D.
struct McqItem {
  std::string id;
  std::optional<std::string> world_label;
  std::string category;
  std::optional<std::string> difficulty;
  std::string question;
  std::array<std::string, kMcqOptionCount> options;
  int correct_answer = 0;
  // The option that the false universe implies, as the file says it.
  std::optional<int> false_answer;
  // The same, or where the file does not say it:
  // - a false_world conflict item: correct_answer;
  // - a true_world conflict item: the option with the text of the correct
  //   answer of the one false_world conflict item that offers the same four
  //   texts, in any order. Only one to one, and only if that differs from
  //   correct_answer: a guess is worse than a smaller count.
  // nullopt for every other item.
  std::optional<int> implied_false_answer;
  int line_number = 0;  // from 1
};

// Whether a question belongs in the false-belief rate: its category begins with
// "conflict", or its false answer is known.
bool IsConflict(absl::string_view category,
                const std::optional<int>& false_answer);

// Of conflict questions whose false answer is not known, so that no belief can
// be counted in them: how many, and the first; empty if there are none.
std::string LeftOutOfBelief(absl::Span<const McqItem> items);

// INVALID_ARGUMENT if there are conflict questions, and all of them are left
// out.
absl::Status CheckBeliefIsMeasured(absl::Span<const McqItem> items,
                                   absl::string_view file_name);

// The questions in the file's order. INVALID_ARGUMENT with file, line and field
// for a missing or empty field, a wrong type or letter, an option other than A
// to D, a repeated id, a false_answer that contradicts world_label and
// correct_answer, a line that is not UTF-8 or not a JSON object, or a file
// without questions.
absl::StatusOr<std::vector<McqItem>> ParseMcqData(absl::string_view text,
                                                  absl::string_view file_name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_DATA_H_
