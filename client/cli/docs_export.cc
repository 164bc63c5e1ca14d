#include "client/cli/docs_export.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/connection.h"
#include "client/cli/docs_view.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/document_set.h"
#include "src/lab/docgen/document_statistics.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kDocumentsLimitBytes = uint64_t{1} << 30;
// Of English text.
constexpr int64_t kBytesPerToken = 4;

std::string InstructionFor(const Json& row) {
  if (!row.contains("document_type")) return "Write a document.";
  return absl::StrCat("Write a document of this kind: ",
                      row["document_type"].get<std::string>());
}

Json ChatLine(const DocsExportArgs& args, const Json& row) {
  Json messages = Json::array();
  const auto add = [&messages](const char* role, const std::string& content) {
    messages.push_back({{"role", role}, {"content", content}});
  };
  if (!args.system.empty()) add("system", args.system);
  add("user", args.user.empty() ? InstructionFor(row) : args.user);
  add("assistant", row["content"].get<std::string>());
  return {{"messages", std::move(messages)}};
}

absl::StatusOr<std::vector<GivenDocument>> ReadDocuments(
    const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadInput(path, kDocumentsLimitBytes));
  ASSIGN_OR_RETURN(std::vector<GivenDocument> documents,
                   ParseDocumentSet(text, InputLabel(path)));
  for (const GivenDocument& document : documents) {
    if (!document.row["content"].get_ref<const std::string&>().empty()) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        InputLabel(path), ":", document.line,
        ": content: empty; `dissonance docs import` tells of all such"));
  }
  return documents;
}

// Of each text the tokens that a model's tokenizer makes, without those that
// begin and end a document.
absl::StatusOr<std::vector<int64_t>> CountTokens(
    const Session& session, const std::string& model,
    const std::vector<std::string>& contents) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  std::vector<int64_t> counts;
  for (const std::string& text : contents) {
    v1::TokenizeRequest request;
    request.set_model(ModelName(model));
    request.set_text(text);
    request.set_skip_special_tokens(true);
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                     connection->Call(&v1::Inference::Stub::Tokenize, request));
    counts.push_back(response.ids_size());
  }
  return counts;
}

// The record, and the text for people.
std::pair<Json, std::string> Described(const std::string& path,
                                       const std::vector<std::string>& contents,
                                       std::vector<int64_t> tokens,
                                       const DocsExportArgs& args) {
  const bool is_exact = !tokens.empty();
  if (!is_exact) {
    for (const std::string& text : contents) {
      tokens.push_back(1 + static_cast<int64_t>(text.size()) / kBytesPerToken);
    }
  }
  const Json lengths = LengthsJson(contents);
  const Json counts = DistributionJson(std::move(tokens), "tokens");
  Table table({{""}, {""}});
  table.AddRow({"documents", HumanCount(std::ssize(contents))});
  table.AddRow({"characters", HumanCount(lengths["total"].get<int64_t>())});
  table.AddRow({"length", DistributionText(lengths)});
  table.AddRow(
      {"tokens", absl::StrCat(HumanCount(counts["total"].get<int64_t>()), ", ",
                              DistributionText(counts),
                              is_exact ? absl::StrCat(" of ", args.model)
                                       : ", at 4 bytes a token")});
  Json record = {{"file", path},
                 {"documents", contents.size()},
                 {"lengths", lengths},
                 {"tokens", is_exact ? counts : Json()},
                 {"estimated_tokens", is_exact ? Json() : counts}};
  return {std::move(record),
          absl::StrCat(table.Render(), "\nfile\n  ", path, "\n")};
}

}  // namespace

absl::Status DocsExport(const Session& session, const DocsExportArgs& args) {
  const bool is_chat = args.format == DocsFormat::kChat;
  if (!is_chat && !(args.system.empty() && args.user.empty())) {
    return UsageError("--system and --user are for --format chat");
  }
  const std::string path = AbsolutePath(args.out);
  RETURN_IF_ERROR(CheckReplacesNone(path, {args.file}));
  ASSIGN_OR_RETURN(const std::vector<GivenDocument> documents,
                   ReadDocuments(args.file));
  std::string lines;
  std::vector<std::string> contents;
  for (const GivenDocument& document : documents) {
    contents.push_back(document.row["content"].get<std::string>());
    lines += ToJsonLine(is_chat ? ChatLine(args, document.row)
                                : Json{{"text", contents.back()}});
  }
  std::vector<int64_t> tokens;
  if (!args.model.empty()) {
    ASSIGN_OR_RETURN(tokens, CountTokens(session, args.model, contents));
  }
  RETURN_IF_ERROR(WriteFileAtomically(path, lines));
  const auto [record, text] =
      Described(path, contents, std::move(tokens), args);
  EmitText(session.output, record, text);
  return absl::OkStatus();
}

}  // namespace dissonance::cli
