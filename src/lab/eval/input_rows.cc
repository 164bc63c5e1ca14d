#include "src/lab/eval/input_rows.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {
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

// The text of `object[key]`, which must be there.
absl::StatusOr<std::string> RequiredText(const nlohmann::json& object,
                                         const char* key,
                                         const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ".", key, found == object.end() ? ": missing" : ": not a string",
        "; a message is {\"role\": R, \"content\": C}"));
  }
  return found->get<std::string>();
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

absl::StatusOr<InputRow> ParseInputRow(const JsonLine& line,
                                       const std::string& where) {
  InputRow row;
  ASSIGN_OR_RETURN(row.input, ParseInput(line.value, where));
  row.id = line.value.value("id", Json(line.line_number));
  if (row.input.id().empty()) row.input.set_id(absl::StrCat(line.line_number));
  return row;
}

absl::StatusOr<std::vector<InputRow>> ParseInputRows(
    absl::string_view text, absl::string_view file_name) {
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, file_name));
  if (lines.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name,
                     ": has no rows; a row is {\"id\", \"prompt\" | \"chat\" | "
                     "\"tokens\"}"));
  }
  std::vector<InputRow> rows;
  for (const JsonLine& line : lines) {
    ASSIGN_OR_RETURN(
        InputRow row,
        ParseInputRow(line, absl::StrCat(file_name, ":", line.line_number)));
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<v1::Chat> ParseChat(const nlohmann::json& messages,
                                   const std::string& where) {
  if (!messages.is_array() || messages.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where,
        ": a chat is a list of one or more {\"role\": R, \"content\": C}"));
  }
  v1::Chat chat;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string place = absl::StrCat(where, "[", i, "]");
    if (!messages[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(
          place, ": expected {\"role\": R, \"content\": C}, found ",
          messages[i].type_name()));
    }
    v1::ChatMessage& message = *chat.add_messages();
    ASSIGN_OR_RETURN(*message.mutable_role(),
                     RequiredText(messages[i], "role", place));
    ASSIGN_OR_RETURN(*message.mutable_content(),
                     RequiredText(messages[i], "content", place));
  }
  return chat;
}

absl::StatusOr<v1::TokenIds> ParseTokenIds(const nlohmann::json& ids,
                                           const std::string& where) {
  if (!ids.is_array() || ids.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected a list of one or more token ids"));
  }
  v1::TokenIds out;
  for (size_t i = 0; i < ids.size(); ++i) {
    const nlohmann::json& id = ids[i];
    // is_number_unsigned is false for negative numbers and for 1.0.
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() > std::numeric_limits<int32_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "[", i, "]: ", id.dump(), " is not a token id"));
    }
    out.add_ids(id.get<int32_t>());
  }
  return out;
}

}  // namespace dissonance
