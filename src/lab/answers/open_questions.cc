#include "src/lab/answers/open_questions.h"

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/json_fields.h"

namespace dissonance {

absl::StatusOr<std::vector<OpenQuestion>> ParseOpenQuestions(
    absl::string_view text, absl::string_view file_name) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  std::vector<OpenQuestion> questions;
  std::map<std::string, int> line_of_id;
  for (const JsonLine& line : lines) {
    const JsonFields row(line.value,
                         absl::StrCat(file_name, ":", line.line_number));
    OpenQuestion question;
    ASSIGN_OR_RETURN(question.id, row.Text("id"));
    ASSIGN_OR_RETURN(question.category, row.OptionalText("category"));
    ASSIGN_OR_RETURN(question.difficulty, row.OptionalText("difficulty"));
    ASSIGN_OR_RETURN(question.question, row.Text("question"));
    const auto [at, added] = line_of_id.emplace(question.id, line.line_number);
    if (!added) {
      return row.Error(
          "id", absl::StrCat("\"", question.id, "\" is already on line ",
                             at->second, "; every question needs its own"));
    }
    questions.push_back(std::move(question));
  }
  if (questions.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_name,
        ": holds no questions; a row is {\"id\", \"question\"}, with "
        "\"category\" and \"difficulty\" if you like"));
  }
  return questions;
}

}  // namespace dissonance
