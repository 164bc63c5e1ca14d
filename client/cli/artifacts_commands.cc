// dissonance artifacts list | get.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/proto_json.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

absl::Status List(const Session& session, size_t limit) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<v1::Artifact> artifacts,
                   ListAll(*connection, &v1::Artifacts::Stub::ListArtifacts,
                           v1::ListArtifactsRequest(),
                           &v1::ListArtifactsResponse::artifacts, limit));
  Table table({{"CREATED"}, {"SIZE", Align::kRight}, {"TYPE"}, {"ARTIFACT"}});
  std::vector<nlohmann::json> records;
  for (const v1::Artifact& artifact : artifacts) {
    records.push_back(ToJson(artifact));
    table.AddRow({HumanTime(artifact.create_time()),
                  HumanBytes(artifact.size_bytes()), artifact.media_type(),
                  ShortName(artifact.name())});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& app) {
  auto limit = std::make_shared<size_t>(100);
  app.add_option("--limit", *limit, "At most this many, newest first")
      ->capture_default_str();
  return [limit](const Session& session) { return List(session, *limit); };
}

struct GetArgs {
  std::string name;
  std::string out;
};

absl::Status Get(const Session& session, const GetArgs& args) {
  const bool to_stdout = args.out.empty() || args.out == "-";
  if (args.out.empty() && ::isatty(STDOUT_FILENO) == 1) {
    return UsageError(
        "the artifact's bytes would go to the terminal; name a file with "
        "--out, or add --out - if you want that");
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  const std::string name = ArtifactName(args.name);
  ASSIGN_OR_RETURN(const std::string contents,
                   DownloadArtifact(*connection, name));
  if (to_stdout) {
    std::fwrite(contents.data(), 1, contents.size(), stdout);
    return absl::OkStatus();
  }
  const std::string path = AbsolutePath(args.out);
  RETURN_IF_ERROR(WriteFileAtomically(path, contents));
  Table table({{""}});
  table.AddRow({absl::StrCat(path, " (", HumanBytes(contents.size()), ")")});
  EmitOne(session.output,
          {{"name", name}, {"path", path}, {"size_bytes", contents.size()}},
          table);
  return absl::OkStatus();
}

CommandRun DefineGet(CLI::App& app) {
  auto args = std::make_shared<GetArgs>();
  app.add_option("ARTIFACT", args->name,
                 "artifacts/sha256:HEX, sha256:HEX or the hex digits")
      ->required();
  app.add_option("--out", args->out, "File to write; -: stdout");
  return [args](const Session& session) { return Get(session, *args); };
}

}  // namespace

std::vector<Command> ArtifactsCommands() {
  return {
      {"artifacts", "list", "List artifacts, newest first", DefineList},
      {"artifacts", "get", "Fetch an artifact's bytes, checked by digest",
       DefineGet},
  };
}

}  // namespace dissonance::cli
