// dissonance artifacts list | show | get | put | share | pin | delete.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/progress.h"
#include "client/cli/proto_json.h"
#include "client/cli/upload.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kArtifactHelp[] =
    "artifacts/sha256:HEX, sha256:HEX or the hex digits";

std::string YesOrNo(bool value) { return value ? "yes" : "no"; }

void EmitArtifact(const Session& session, const v1::Artifact& artifact) {
  Table table({{""}, {""}});
  table.AddRow({"name", artifact.name()});
  table.AddRow({"size", HumanBytes(artifact.size_bytes())});
  table.AddRow({"type", artifact.media_type()});
  table.AddRow({"created", HumanTime(artifact.create_time())});
  table.AddRow({"visibility", EnumWord(artifact.visibility())});
  table.AddRow({"pinned", YesOrNo(artifact.pinned())});
  table.AddRow({"owned", YesOrNo(artifact.owned())});
  EmitOne(session.output, ToJson(artifact), table);
}

absl::Status List(const Session& session, size_t limit) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<v1::Artifact> artifacts,
                   ListAll(*connection, &v1::Artifacts::Stub::ListArtifacts,
                           v1::ListArtifactsRequest(),
                           &v1::ListArtifactsResponse::artifacts, limit));
  Table table({{"CREATED"},
               {"SIZE", Align::kRight},
               {"TYPE"},
               {"VISIBILITY"},
               {"PINNED"},
               {"OWNED"},
               {"ARTIFACT"}});
  std::vector<nlohmann::json> records;
  for (const v1::Artifact& artifact : artifacts) {
    records.push_back(ToJson(artifact));
    table.AddRow({HumanTime(artifact.create_time()),
                  HumanBytes(artifact.size_bytes()), artifact.media_type(),
                  EnumWord(artifact.visibility()), YesOrNo(artifact.pinned()),
                  YesOrNo(artifact.owned()), ShortName(artifact.name())});
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
  app.add_option("ARTIFACT", args->name, kArtifactHelp)->required();
  app.add_option("--out", args->out, "File to write; -: stdout");
  return [args](const Session& session) { return Get(session, *args); };
}

absl::Status Show(const Session& session, const std::string& name) {
  v1::GetArtifactRequest request;
  request.set_name(ArtifactName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::GetArtifactResponse response,
      connection->Call(&v1::Artifacts::Stub::GetArtifact, request));
  EmitArtifact(session, response.artifact());
  return absl::OkStatus();
}

CommandRun DefineShow(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("ARTIFACT", *name, kArtifactHelp)->required();
  return [name](const Session& session) { return Show(session, *name); };
}

absl::StatusOr<v1::Artifact> Update(Connection& connection,
                                    const v1::UpdateArtifactRequest& request) {
  ASSIGN_OR_RETURN(
      v1::UpdateArtifactResponse response,
      connection.CallAgain(&v1::Artifacts::Stub::UpdateArtifact, request));
  return std::move(*response.mutable_artifact());
}

struct PutArgs {
  std::string path;
  std::string media_type;
  bool share = false;
};

absl::Status Put(const Session& session, const PutArgs& args) {
  const std::string path = AbsolutePath(args.path);
  ASSIGN_OR_RETURN(const Upload upload, UploadOfFile(path));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  ASSIGN_OR_RETURN(
      v1::Artifact artifact,
      SendUpload(*connection, upload,
                 args.media_type.empty() ? MediaTypeOf(path) : args.media_type,
                 display));
  if (args.share) {
    v1::UpdateArtifactRequest request;
    request.set_name(artifact.name());
    request.set_visibility(v1::VISIBILITY_LAB);
    ASSIGN_OR_RETURN(artifact, Update(*connection, request));
  }
  EmitText(session.output, ToJson(artifact), Printable(artifact.name()));
  return absl::OkStatus();
}

CommandRun DefinePut(CLI::App& app) {
  auto args = std::make_shared<PutArgs>();
  app.add_option("FILE", args->path, "File to store")->required();
  app.add_option("--media-type", args->media_type,
                 "E.g. application/jsonl (default: by the file's name)");
  app.add_flag("--share", args->share, "Everybody with a token may use it");
  return [args](const Session& session) { return Put(session, *args); };
}

struct ChangeArgs {
  std::string name;
  // --private or --off.
  bool undo = false;
};

absl::Status Change(const Session& session,
                    const v1::UpdateArtifactRequest& request) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::Artifact artifact, Update(*connection, request));
  EmitArtifact(session, artifact);
  return absl::OkStatus();
}

CommandRun DefineShare(CLI::App& app) {
  auto args = std::make_shared<ChangeArgs>();
  app.add_option("ARTIFACT", args->name, kArtifactHelp)->required();
  app.add_flag("--private", args->undo, "Its owners alone see it again");
  return [args](const Session& session) {
    v1::UpdateArtifactRequest request;
    request.set_name(ArtifactName(args->name));
    request.set_visibility(args->undo ? v1::VISIBILITY_PRIVATE
                                      : v1::VISIBILITY_LAB);
    return Change(session, request);
  };
}

CommandRun DefinePin(CLI::App& app) {
  auto args = std::make_shared<ChangeArgs>();
  app.add_option("ARTIFACT", args->name, kArtifactHelp)->required();
  app.add_flag("--off", args->undo, "It may go when nothing names it");
  return [args](const Session& session) {
    v1::UpdateArtifactRequest request;
    request.set_name(ArtifactName(args->name));
    request.set_pinned(!args->undo);
    return Change(session, request);
  };
}

absl::Status Delete(const Session& session, const std::string& name) {
  v1::DeleteArtifactRequest request;
  request.set_name(ArtifactName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  RETURN_IF_ERROR(
      connection->Call(&v1::Artifacts::Stub::DeleteArtifact, request).status());
  EmitText(session.output, {{"name", request.name()}},
           absl::StrCat("deleted ", Printable(request.name())));
  return absl::OkStatus();
}

CommandRun DefineDelete(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("ARTIFACT", *name, kArtifactHelp)->required();
  return [name](const Session& session) { return Delete(session, *name); };
}

}  // namespace

std::vector<Command> ArtifactsCommands() {
  return {
      {"artifacts", "list", "List artifacts, newest first", DefineList},
      {"artifacts", "show", "Show one artifact", DefineShow},
      {"artifacts", "get", "Fetch an artifact's bytes, checked by digest",
       DefineGet},
      {"artifacts", "put", "Store a file; prints its name", DefinePut},
      {"artifacts", "share", "Let everybody with a token use an artifact",
       DefineShare},
      {"artifacts", "pin", "Keep an artifact from garbage collection",
       DefinePin},
      {"artifacts", "delete", "Give an artifact up", DefineDelete},
  };
}

}  // namespace dissonance::cli
