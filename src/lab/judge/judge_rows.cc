#include "src/lab/judge/judge_rows.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

Json OrNull(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

absl::StatusOr<FreeAnswer> ReadAnswer(const RowFields& fields, RowKeys& keys) {
  FreeAnswer answer;
  ASSIGN_OR_RETURN(answer.label, ReadLabel(fields));
  ASSIGN_OR_RETURN(answer.question, fields.FilledText("question"));
  // A model may have had nothing to say.
  ASSIGN_OR_RETURN(answer.answer, fields.Text("answer"));
  const AnswerLabel& label = answer.label;
  RETURN_IF_ERROR(keys.Add(
      fields, Json({label.variant, label.id, label.sample}).dump(),
      absl::StrCat("an answer of ", label.variant, " to \"", label.id,
                   "\", sample ", label.sample,
                   ", is there already; tell them apart by `variant` or "
                   "`sample`")));
  return answer;
}

}  // namespace

absl::Status RowFields::Error(absl::string_view field,
                              absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(where_, ": ", field, ": ", what));
}

bool RowFields::Has(absl::string_view field) const {
  const auto at = row_.find(std::string(field));
  return at != row_.end() && !at->is_null();
}

absl::StatusOr<std::string> RowFields::Text(absl::string_view field) const {
  const auto at = row_.find(std::string(field));
  if (at == row_.end()) return Error(field, "missing");
  if (!at->is_string()) {
    return Error(field,
                 absl::StrCat("expected a string, found ", at->type_name()));
  }
  return at->get<std::string>();
}

absl::StatusOr<std::string> RowFields::FilledText(
    absl::string_view field) const {
  ASSIGN_OR_RETURN(std::string text, Text(field));
  if (absl::StripAsciiWhitespace(text).empty()) return Error(field, "empty");
  return text;
}

absl::StatusOr<std::string> RowFields::TextOr(
    absl::string_view field, absl::string_view otherwise) const {
  if (!Has(field)) return std::string(otherwise);
  return FilledText(field);
}

absl::StatusOr<int64_t> RowFields::CountOr(absl::string_view field,
                                           int64_t otherwise) const {
  if (!Has(field)) return otherwise;
  const Json& value = row_.at(std::string(field));
  if (!value.is_number_integer() || value < 0) {
    return Error(field, "expected a whole number from 0 on");
  }
  return value.get<int64_t>();
}

absl::StatusOr<AnswerLabel> ReadLabel(const RowFields& fields) {
  AnswerLabel label;
  ASSIGN_OR_RETURN(label.id, fields.FilledText("id"));
  ASSIGN_OR_RETURN(label.sample, fields.CountOr("sample", 0));
  ASSIGN_OR_RETURN(label.variant, fields.TextOr("variant", "base"));
  ASSIGN_OR_RETURN(label.model, fields.TextOr("model", ""));
  ASSIGN_OR_RETURN(label.category, fields.TextOr("category", ""));
  ASSIGN_OR_RETURN(label.difficulty, fields.TextOr("difficulty", ""));
  return label;
}

void AddLabel(const AnswerLabel& label, Json& row) {
  row["variant"] = label.variant;
  row["id"] = label.id;
  row["sample"] = label.sample;
  row["model"] = OrNull(label.model);
  row["category"] = OrNull(label.category);
  row["difficulty"] = OrNull(label.difficulty);
}

absl::Status RowKeys::Add(const RowFields& fields, const std::string& key,
                          absl::string_view what) {
  const auto [at, is_new] = places_.emplace(key, fields.where());
  if (is_new) return absl::OkStatus();
  return fields.Error("id",
                      absl::StrCat(what, " (the first: ", at->second, ")"));
}

absl::StatusOr<std::vector<FreeAnswer>> ReadAnswers(
    absl::Span<const NamedText> files) {
  std::vector<FreeAnswer> answers;
  RowKeys keys;
  for (const NamedText& file : files) {
    ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                     ParseJsonLines(file.contents, file.name));
    for (const JsonLine& line : lines) {
      const RowFields fields(line.value,
                             absl::StrCat(file.name, ":", line.line_number));
      ASSIGN_OR_RETURN(FreeAnswer answer, ReadAnswer(fields, keys));
      answers.push_back(std::move(answer));
    }
  }
  if (!answers.empty()) return answers;
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrJoin(files, ", ",
                                 [](std::string* out, const NamedText& file) {
                                   out->append(file.name);
                                 }),
                   ": no answers; give JSON lines {id, question, answer}"));
}

}  // namespace dissonance
