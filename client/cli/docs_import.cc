#include "client/cli/docs_import.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/docs_view.h"
#include "client/cli/download.h"
#include "client/cli/input_file.h"
#include "client/cli/output.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/document_check.h"
#include "src/lab/docgen/document_files.h"
#include "src/lab/docgen/document_set.h"
#include "src/lab/docgen/universe.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kDocumentsLimitBytes = uint64_t{1} << 30;
constexpr uint64_t kTextLimitBytes = 1 << 20;
// Of documents that files list, so many are shown.
constexpr size_t kShownFailures = 20;

// What documents are checked for.
struct Rules {
  std::optional<Universe> universe = std::nullopt;
  std::string universe_digest = {};
  std::vector<std::string> phrases = DefaultForbiddenPhrases();

  const Universe* universe_or_null() const {
    return universe.has_value() ? &*universe : nullptr;
  }
};

struct NamedFile {
  std::string name;
  std::string contents;
};

absl::StatusOr<Rules> ReadRules(const DocsImportArgs& args) {
  Rules rules;
  if (!args.universe.empty()) {
    ASSIGN_OR_RETURN(const std::string text,
                     ReadInput(args.universe, kTextLimitBytes));
    ASSIGN_OR_RETURN(rules.universe,
                     ParseUniverse(text, InputLabel(args.universe)));
    rules.universe_digest = Sha256Of(text);
  }
  if (!args.forbidden.empty()) {
    ASSIGN_OR_RETURN(const std::string text,
                     ReadInput(args.forbidden, kTextLimitBytes));
    ASSIGN_OR_RETURN(rules.phrases,
                     ParsePhrases(text, InputLabel(args.forbidden)));
  }
  return rules;
}

// What the files were made of, and their digests.
Json ManifestOf(const DocsImportArgs& args, const std::string& text,
                const Rules& rules, const std::vector<NamedFile>& files) {
  Json digests = Json::object();
  for (const NamedFile& file : files) {
    digests[file.name] = {{"sha256", Sha256Of(file.contents)},
                          {"size_bytes", file.contents.size()}};
  }
  Json universe = nullptr;
  if (rules.universe.has_value()) {
    universe = {{"id", rules.universe->id},
                {"name", InputLabel(args.universe)},
                {"sha256", rules.universe_digest}};
  }
  return {
      {"kind", "import_documents"},
      {"data", {{"name", InputLabel(args.file)}, {"sha256", Sha256Of(text)}}},
      {"universe", std::move(universe)},
      {"forbidden_phrases", rules.phrases},
      {"near_duplicate_similarity", args.near_duplicates},
      {"files", std::move(digests)}};
}

// Before anything is written: the folder is there, and what is read is not in
// the way.
absl::Status PrepareOutput(const DocsImportArgs& args,
                           const std::string& directory,
                           const std::vector<NamedFile>& files) {
  for (const NamedFile& file : files) {
    RETURN_IF_ERROR(
        CheckReplacesNone(absl::StrCat(directory, "/", file.name),
                          {args.file, args.universe, args.forbidden}));
  }
  RETURN_IF_ERROR(PrepareFolder(directory));
  const std::string job = JobOfResults(directory);
  if (!job.empty()) {
    absl::FPrintF(stderr,
                  "note: %s holds the results of %s; they will be replaced\n",
                  Printable(directory), Printable(job));
  }
  return absl::OkStatus();
}

// Their paths.
absl::StatusOr<std::vector<std::string>> WriteFiles(
    const std::string& directory, const std::vector<NamedFile>& files) {
  std::vector<std::string> paths;
  for (const NamedFile& file : files) {
    paths.push_back(absl::StrCat(directory, "/", file.name));
    RETURN_IF_ERROR(WriteFileAtomically(paths.back(), file.contents));
  }
  return paths;
}

Json FailuresJson(const std::vector<CheckedDocument>& documents) {
  Json failures = Json::array();
  for (const CheckedDocument& document : documents) {
    if (document.is_valid) continue;
    failures.push_back({{"line", document.row.at("line")},
                        {"id", document.row.at("id")},
                        {"reasons", document.failures.back()}});
  }
  return failures;
}

// `most`: how many are shown.
std::string FailuresText(const Json& failures, size_t most) {
  if (failures.empty()) return "";
  Table table({{"LINE", Align::kRight}, {"ID"}, {"NOT VALID BECAUSE"}});
  for (size_t i = 0; i < std::min(most, failures.size()); ++i) {
    table.AddRow({failures[i].at("line").dump(), TextOfId(failures[i].at("id")),
                  absl::StrJoin(failures[i].at("reasons"), "; ",
                                [](std::string* out, const Json& reason) {
                                  out->append(reason.get<std::string>());
                                })});
  }
  std::string text = table.Render();
  if (failures.size() > most) {
    absl::StrAppend(&text, "... and ", failures.size() - most,
                    " more, which failures.jsonl lists\n");
  }
  return text + "\n";
}

absl::Status StatusOf(const DocsImportArgs& args, const Json& statistics) {
  const auto count = statistics.at("documents").get<int64_t>();
  const auto invalid = statistics.at("invalid").get<int64_t>();
  if (invalid == 0 || (!args.out.empty() && invalid < count)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      InputLabel(args.file), ": ", invalid, " of ", count,
      " documents are not valid; ",
      args.out.empty() ? "mend them, or give --out to keep the others"
                       : "nothing is left to train on"));
}

}  // namespace

absl::Status DocsImport(const Session& session, const DocsImportArgs& args) {
  ASSIGN_OR_RETURN(const Rules rules, ReadRules(args));
  ASSIGN_OR_RETURN(const std::string text,
                   ReadInput(args.file, kDocumentsLimitBytes));
  ASSIGN_OR_RETURN(const std::vector<GivenDocument> given,
                   ParseDocumentSet(text, InputLabel(args.file)));
  std::vector<CheckedDocument> documents;
  for (const GivenDocument& document : given) {
    documents.push_back(
        CheckGiven(document, rules.universe_or_null(), rules.phrases));
  }
  DocumentFiles made =
      FilesOf(documents, rules.universe_or_null(), args.near_duplicates);
  std::vector<std::string> paths;
  if (!args.out.empty()) {
    const std::string directory = AbsolutePath(args.out);
    std::vector<NamedFile> files = {
        {"docs.jsonl", std::move(made.docs)},
        {"failures.jsonl", std::move(made.failures)},
        {"near_duplicates.csv", std::move(made.near_duplicates)},
        {"statistics.json", ToIndented(made.statistics)}};
    files.push_back(
        {"manifest.json", ToIndented(ManifestOf(args, text, rules, files))});
    RETURN_IF_ERROR(PrepareOutput(args, directory, files));
    ASSIGN_OR_RETURN(paths, WriteFiles(directory, files));
  }
  const Json failures = FailuresJson(documents);
  ASSIGN_OR_RETURN(const std::string summary, StatisticsText(made.statistics));
  std::string shown =
      absl::StrCat(FailuresText(failures, args.out.empty() ? failures.size()
                                                           : kShownFailures),
                   summary);
  if (!rules.universe.has_value()) {
    absl::StrAppend(&shown,
                    "checked: length and forbidden phrases; with --universe "
                    "also what the documents say\n");
  }
  if (!paths.empty()) {
    absl::StrAppend(&shown, "\nfiles\n  ", absl::StrJoin(paths, "\n  "), "\n");
  }
  EmitText(session.output,
           {{"statistics", made.statistics},
            {"failures", failures},
            {"files", paths}},
           shown);
  return StatusOf(args, made.statistics);
}

}  // namespace dissonance::cli
