#include "client/cli/input_rows.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/input_file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

absl::Status WrongType(const std::string& where, const char* key,
                       const char* expected, const Json& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": ", key, ": expected ", expected, ", found ",
                   found.type_name()));
}

absl::StatusOr<bool> BoolOr(const Json& row, const char* key, bool fallback,
                            const std::string& where) {
  const auto found = row.find(key);
  if (found == row.end()) return fallback;
  if (!found->is_boolean()) {
    return WrongType(where, key, "true or false", *found);
  }
  return found->get<bool>();
}

// The one of prompt, chat and tokens that the row has.
absl::StatusOr<std::string> ContentKey(const Json& row,
                                       const std::string& where) {
  std::string key;
  for (const char* each : {"prompt", "chat", "tokens"}) {
    if (!row.contains(each)) continue;
    if (!key.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": has both ", key, " and ", each,
                       "; a row has one of prompt, chat and tokens"));
    }
    key = each;
  }
  if (key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where,
        ": has no prompt; a row has one of prompt (text), chat ([{role, "
        "content}]) and tokens ([ids])"));
  }
  return key;
}

absl::Status ParseContent(const Json& row, const std::string& where,
                          v1::Input& input) {
  ASSIGN_OR_RETURN(const std::string key, ContentKey(row, where));
  const Json& value = row[key];
  const std::string place = absl::StrCat(where, ": ", key);
  if (key == "chat") {
    ASSIGN_OR_RETURN(*input.mutable_chat(), ParseChat(value, place));
    ASSIGN_OR_RETURN(const bool generate,
                     BoolOr(row, "add_generation_prompt", true, where));
    input.mutable_chat()->set_add_generation_prompt(generate);
  } else if (key == "tokens") {
    ASSIGN_OR_RETURN(*input.mutable_tokens(), ParseTokenIds(value, place));
  } else if (value.is_string()) {
    input.set_text(value.get<std::string>());
  } else {
    return WrongType(where, "prompt", "text", value);
  }
  return absl::OkStatus();
}

absl::Status ParseLabels(const Json& row, const std::string& where,
                         v1::Input& input) {
  const auto labels = row.find("labels");
  if (labels == row.end()) return absl::OkStatus();
  if (!labels->is_object()) {
    return WrongType(where, "labels", "an object of strings", *labels);
  }
  for (const auto& [key, value] : labels->items()) {
    (*input.mutable_labels())[key] =
        value.is_string() ? value.get<std::string>() : value.dump();
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Continuation> ParseContinuation(const Json& value,
                                                   bool text_allowed,
                                                   const std::string& place) {
  v1::Continuation continuation;
  if (value.is_string()) {
    if (!text_allowed) {
      return absl::InvalidArgumentError(
          absl::StrCat(place,
                       ": text cannot follow a prompt of token ids; give the "
                       "continuation as {\"tokens\": [ids]}"));
    }
    continuation.set_text(value.get<std::string>());
    return continuation;
  }
  if (value.is_object() && value.contains("tokens")) {
    ASSIGN_OR_RETURN(
        *continuation.mutable_tokens(),
        ParseTokenIds(value["tokens"], absl::StrCat(place, ".tokens")));
    return continuation;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      place, ": expected text or {\"tokens\": [ids]}, found ", value.dump()));
}

absl::StatusOr<InputRow> ParseInputRow(const JsonLine& line,
                                       const std::string& where) {
  InputRow row;
  ASSIGN_OR_RETURN(row.input, ParseInput(line.value, where));
  row.id = line.value.value("id", Json(line.line_number));
  if (row.input.id().empty()) row.input.set_id(absl::StrCat(line.line_number));
  return row;
}

absl::StatusOr<ScoreRow> ParseScoreRow(const JsonLine& line,
                                       const std::string& where) {
  ASSIGN_OR_RETURN(InputRow prompt, ParseInputRow(line, where));
  ScoreRow row;
  row.id = std::move(prompt.id);
  *row.item.mutable_prompt() = std::move(prompt.input);
  const auto list = line.value.find("continuations");
  if (list == line.value.end() || !list->is_array() || list->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": continuations: ",
        list == line.value.end() ? "missing" : "not a list of one or more",
        "; give a list of texts or {\"tokens\": [ids]}"));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        *row.item.add_continuations(),
        ParseContinuation((*list)[i], !row.item.prompt().has_tokens(),
                          absl::StrCat(where, ": continuations[", i, "]")));
  }
  return row;
}

// `parse_row` of each line; `fields` are those of a row.
template <typename Row>
absl::StatusOr<std::vector<Row>> ParseRows(
    const std::string& text, const std::string& file_name,
    absl::StatusOr<Row> (*parse_row)(const JsonLine&, const std::string&),
    const char* fields) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  if (lines.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": has no rows; a row is ", fields));
  }
  std::vector<Row> rows;
  for (const JsonLine& line : lines) {
    ASSIGN_OR_RETURN(Row row, parse_row(line, absl::StrCat(file_name, ":",
                                                           line.line_number)));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

absl::StatusOr<v1::Input> ParseInput(const nlohmann::json& row,
                                     const std::string& where) {
  v1::Input input;
  if (const auto id = row.find("id"); id != row.end()) {
    if (!id->is_string() && !id->is_number_integer()) {
      return WrongType(where, "id", "text or an integer", *id);
    }
    input.set_id(id->is_string() ? id->get<std::string>() : id->dump());
  }
  RETURN_IF_ERROR(ParseContent(row, where, input));
  RETURN_IF_ERROR(ParseLabels(row, where, input));
  if (const auto group = row.find("group"); group != row.end()) {
    if (!group->is_string()) return WrongType(where, "group", "text", *group);
    input.set_group(group->get<std::string>());
  }
  ASSIGN_OR_RETURN(const bool special,
                   BoolOr(row, "add_special_tokens", true, where));
  input.set_skip_special_tokens(!special);
  return input;
}

absl::StatusOr<std::vector<InputRow>> ParseInputRows(
    const std::string& text, const std::string& file_name) {
  return ParseRows(text, file_name, ParseInputRow,
                   "{\"id\", \"prompt\" | \"chat\" | \"tokens\"}");
}

absl::StatusOr<std::vector<ScoreRow>> ParseScoreRows(
    const std::string& text, const std::string& file_name) {
  return ParseRows(text, file_name, ParseScoreRow,
                   "{\"id\", \"prompt\", \"continuations\"}");
}

nlohmann::json ScoreRowJson(const ScoreRow& row, const v1::ItemScore& score) {
  Json continuations = Json::array();
  for (int i = 0; i < score.continuations_size(); ++i) {
    const v1::ContinuationScore& each = score.continuations(i);
    const v1::Continuation& asked = row.item.continuations(i);
    Json out = {{"text", nullptr},
                {"bytes", nullptr},
                {"tokens", each.token_ids()},
                {"logprob", each.logprob()},
                {"token_logprobs", each.token_logprobs()}};
    if (asked.content_case() == v1::Continuation::kText) {
      out["text"] = asked.text();
      out["bytes"] = asked.text().size();
    }
    if (!std::isfinite(each.logprob())) {
      out["logprob"] = nullptr;
      out["reason"] = absl::StrCat("logprob is ", each.logprob());
    }
    continuations.push_back(std::move(out));
  }
  return {{"id", row.id},
          {"continuations", std::move(continuations)},
          {"prompt_tokens", score.prompt_token_count()}};
}

}  // namespace dissonance::cli
