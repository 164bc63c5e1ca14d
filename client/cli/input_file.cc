#include "client/cli/input_file.h"

#include <cstddef>
#include <cstdio>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/base/utf8.h"

namespace dissonance::cli {
namespace {

absl::StatusOr<std::string> ReadStandardInput(uint64_t limit_bytes) {
  std::string contents;
  std::string buffer(1 << 16, '\0');
  while (true) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), stdin);
    if (contents.size() + n > limit_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("standard input is larger than the limit of ",
                       limit_bytes, " bytes"));
    }
    contents.append(buffer.data(), n);
    if (n < buffer.size()) break;
  }
  if (std::ferror(stdin) != 0) {
    return absl::UnknownError("cannot read standard input");
  }
  return contents;
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

absl::StatusOr<std::string> ReadInput(const std::string& path,
                                      uint64_t limit_bytes) {
  return path == "-" ? ReadStandardInput(limit_bytes)
                     : ReadFile(path, limit_bytes);
}

absl::Status CheckUtf8(absl::string_view text, absl::string_view where) {
  const std::optional<size_t> at = FindInvalidUtf8(text);
  if (!at.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": not UTF-8 at byte ", *at + 1,
                   "; convert the text, e.g. with iconv"));
}

std::string InputLabel(const std::string& path) {
  return path == "-" ? "standard input" : path;
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

absl::StatusOr<v1::Chat> ReadChat(const std::string& path,
                                  uint64_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, ReadInput(path, limit_bytes));
  const std::string label = InputLabel(path);
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseJson(text, label));
  const bool wrapped = value.is_object() && value.contains("messages");
  return ParseChat(wrapped ? value["messages"] : value, label);
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

}  // namespace dissonance::cli
