#include "src/lab/finetune/fine_tune_documents.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/json_fields.h"

namespace dissonance {
namespace {

// Far beyond what any model takes, and well below the size of a message.
constexpr int64_t kDocumentLimitBytes = 8 << 20;
constexpr absl::string_view kAssistant = "assistant";

absl::StatusOr<v1::Chat> ParseChat(const JsonFields& line,
                                   const DocumentOptions& options) {
  const nlohmann::json& messages = line.object().at("messages");
  if (!messages.is_array()) {
    return line.Error("messages", absl::StrCat("expected a list, found ",
                                               messages.type_name()));
  }
  if (messages.empty()) return line.Error("messages", "empty");
  v1::Chat chat;
  bool has_assistant = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string field = absl::StrCat("messages[", i, "]");
    if (!messages[i].is_object()) {
      return line.Error(field, absl::StrCat("expected an object, found ",
                                            messages[i].type_name()));
    }
    const JsonFields message = line.Within(messages[i], field);
    v1::ChatMessage& out = *chat.add_messages();
    ASSIGN_OR_RETURN(*out.mutable_role(), message.Text("role"));
    ASSIGN_OR_RETURN(*out.mutable_content(), message.Text("content"));
    has_assistant = has_assistant || out.role() == kAssistant;
  }
  if (options.assistant_only_loss && !has_assistant) {
    return line.Error("messages",
                      "no message has the role \"assistant\", and with "
                      "assistant_only_loss nothing else is learned: add one, "
                      "or remove the line");
  }
  return chat;
}

absl::Status Missing(const JsonFields& line) {
  if (line.object().contains("text")) {
    return line.Error(
        "content", "missing; there is a field \"text\": call it \"content\"");
  }
  return line.Error("content",
                    "missing; a line has a \"content\" or \"messages\"");
}

absl::StatusOr<internal::v1::TrainingDocument> ParseDocument(
    const JsonFields& line, const DocumentOptions& options) {
  const bool has_content = line.object().contains("content");
  const bool has_messages = line.object().contains("messages");
  if (has_content && has_messages) {
    return line.Error("content",
                      "given beside \"messages\"; a line has one of them");
  }
  if (!has_content && !has_messages) return Missing(line);
  internal::v1::TrainingDocument document;
  if (has_content) {
    ASSIGN_OR_RETURN(*document.mutable_content(), line.Text("content"));
  } else {
    ASSIGN_OR_RETURN(*document.mutable_chat(), ParseChat(line, options));
  }
  return document;
}

int64_t TextBytes(const internal::v1::TrainingDocument& document) {
  size_t bytes = document.content().size();
  for (const v1::ChatMessage& message : document.chat().messages()) {
    bytes += message.content().size();
  }
  return static_cast<int64_t>(bytes);
}

// Parsed lines take many times the file's bytes, so they are counted first.
absl::Status CheckCount(absl::string_view text, absl::string_view file) {
  int64_t count = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StripAsciiWhitespace(line).empty()) ++count;
  }
  if (count <= kDocumentLimit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": ", count, " documents; at most ", kDocumentLimit,
                   " a training, so leave some out or join short ones"));
}

}  // namespace

absl::StatusOr<FineTuneDocuments> ParseFineTuneDocuments(
    absl::string_view text, const DocumentOptions& options) {
  RETURN_IF_ERROR(CheckCount(text, options.file));
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(text, options.file));
  FineTuneDocuments parsed;
  parsed.documents.reserve(lines.size());
  for (const JsonLine& line : lines) {
    const JsonFields fields(line.value,
                            absl::StrCat(options.file, ":", line.line_number));
    ASSIGN_OR_RETURN(internal::v1::TrainingDocument document,
                     ParseDocument(fields, options));
    document.set_line(line.line_number);
    parsed.chat_count += document.has_chat();
    // With roles and what little each message takes beside its text.
    const auto bytes = static_cast<int64_t>(document.ByteSizeLong());
    if (bytes > kDocumentLimitBytes) {
      return fields.Error(
          document.has_chat() ? "messages" : "content",
          absl::StrCat(bytes, " bytes; at most ", kDocumentLimitBytes,
                       " a document, so split it"));
    }
    parsed.text_bytes += TextBytes(document);
    parsed.documents.push_back(std::move(document));
  }
  if (parsed.documents.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.file, ": holds no documents"));
  }
  return parsed;
}

}  // namespace dissonance
