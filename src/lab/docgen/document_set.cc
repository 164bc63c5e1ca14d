#include "src/lab/docgen/document_set.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"
#include "src/lab/docgen/document_check.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr char kEachLine[] =
    "each line is a JSON object with the text as \"content\"";

absl::Status Error(absl::string_view where, absl::string_view field,
                   absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": ", field, ": ", what));
}

absl::Status WrongType(absl::string_view where, const char* field,
                       const json& found) {
  return Error(where, field,
               absl::StrCat("expected text, found ", found.type_name()));
}

// Puts the text under "content", wherever it stands.
absl::Status PlaceContent(json& row, absl::string_view where) {
  if (row.contains("messages")) {
    return Error(where, "messages",
                 "a conversation is no document; give its text as \"content\"");
  }
  const bool has_text = row.contains("text");
  if (has_text && row.contains("content")) {
    return Error(where, "text", "given beside \"content\"; keep one of them");
  }
  const char* const field = has_text ? "text" : "content";
  if (!row.contains(field)) {
    return Error(where, "content",
                 "missing; a document has its text as \"content\" or \"text\"");
  }
  if (!row[field].is_string()) return WrongType(where, field, row[field]);
  const auto text = row[field].get<std::string>();
  row.erase(field);
  row["content"] = std::string(absl::StripAsciiWhitespace(text));
  return absl::OkStatus();
}

// A text that may be absent; one that is null or empty is taken out.
absl::Status PlaceOptional(json& row, const char* field,
                           absl::string_view where) {
  if (!row.contains(field)) return absl::OkStatus();
  if (!row[field].is_null() && !row[field].is_string()) {
    return WrongType(where, field, row[field]);
  }
  if (row[field].is_null() ||
      absl::StripAsciiWhitespace(row[field].get_ref<const std::string&>())
          .empty()) {
    row.erase(field);
  }
  return absl::OkStatus();
}

absl::Status PlaceId(json& row, int line, absl::string_view where) {
  if (!row.contains("id") || row["id"].is_null()) {
    row["id"] = absl::StrCat("line-", line);
  }
  if (row["id"].is_string() || row["id"].is_number_integer()) {
    return absl::OkStatus();
  }
  return Error(where, "id",
               absl::StrCat("expected text or a whole number, found ",
                            row["id"].type_name()));
}

}  // namespace

absl::StatusOr<std::vector<GivenDocument>> ParseDocumentSet(
    absl::string_view text, absl::string_view file_name) {
  absl::StatusOr<std::vector<JsonLine>> lines = ParseJsonLines(text, file_name);
  if (!lines.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(lines.status().message(), "; ", kEachLine));
  }
  if (lines->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": holds no documents; ", kEachLine));
  }
  std::map<json, int> line_of_id;
  std::vector<GivenDocument> documents;
  for (JsonLine& line : *lines) {
    const std::string where = absl::StrCat(file_name, ":", line.line_number);
    json row = std::move(line.value);
    RETURN_IF_ERROR(PlaceContent(row, where));
    RETURN_IF_ERROR(PlaceId(row, line.line_number, where));
    for (const char* field : {"fact", "document_type", "universe_id"}) {
      RETURN_IF_ERROR(PlaceOptional(row, field, where));
    }
    const auto [other, is_new] =
        line_of_id.emplace(row["id"], line.line_number);
    if (!is_new) {
      return Error(
          where, "id",
          absl::StrCat(row["id"].dump(), " is that of line ", other->second,
                       ", too; give each document its own"));
    }
    documents.push_back({.line = line.line_number, .row = std::move(row)});
  }
  return documents;
}

CheckedDocument CheckGiven(const GivenDocument& document,
                           const Universe* universe,
                           const std::vector<std::string>& phrases) {
  CheckedDocument checked{.row = document.row};
  const std::string& content = checked.content();
  std::vector<std::string> reasons;
  if (universe == nullptr) {
    reasons = CheckWording(content, phrases);
  } else if (checked.row.contains("fact")) {
    reasons = CheckDocument(content, checked.row["fact"].get<std::string>(),
                            *universe, phrases);
  } else {
    reasons = CheckDocumentWithoutFact(content, *universe, phrases);
  }
  if (universe != nullptr) {
    const std::string own = checked.row.value("universe_id", universe->id);
    if (own != universe->id) {
      reasons.push_back(absl::StrCat("other_universe: \"", own, "\", not \"",
                                     universe->id, "\""));
    } else {
      checked.row["universe_id"] = own;
    }
  }
  checked.is_valid = reasons.empty();
  if (!checked.is_valid) {
    checked.row["line"] = document.line;
    checked.failures.push_back(std::move(reasons));
  }
  return checked;
}

absl::StatusOr<std::vector<std::string>> ParsePhrases(
    absl::string_view text, absl::string_view file_name) {
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": not UTF-8 at byte ", *at + 1,
                     "; save the file as UTF-8"));
  }
  std::vector<std::string> phrases;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const absl::string_view phrase = absl::StripAsciiWhitespace(line);
    if (!phrase.empty()) phrases.emplace_back(phrase);
  }
  if (phrases.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_name,
        ": holds no phrases; write one a line, or leave the file out for the "
        "usual ones"));
  }
  return phrases;
}

}  // namespace dissonance
