// dissonance admin drain | resume | backup | gc | audit.
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct DrainArgs {
  std::string reason;
  bool stop = false;
};

absl::Status Drain(const Session& session, const DrainArgs& args) {
  v1::DrainRequest request;
  request.set_reason(args.reason);
  request.set_stop(args.stop);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::DrainResponse response,
                   connection->CallAgain(&v1::Admin::Stub::Drain, request));
  const int64_t running = response.running_job_count();
  std::string text =
      absl::StrCat("no jobs are started until 'dissonance admin resume'; ",
                   running, running == 1 ? " runs still" : " run still");
  if (running > 0 && args.stop) {
    absl::StrAppend(&text, ", until ", running == 1 ? "its" : "their",
                    " next checkpoint");
  }
  EmitText(session.output, ToJson(response), text);
  return absl::OkStatus();
}

CommandRun DefineDrain(CLI::App& app) {
  auto args = std::make_shared<DrainArgs>();
  app.add_option("--reason", args->reason,
                 "Shown to whoever waits (default: maintenance)");
  app.add_flag("--stop", args->stop,
               "Running jobs go back to the queue at their next checkpoint");
  return [args](const Session& session) { return Drain(session, *args); };
}

absl::Status Resume(const Session& session) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::ResumeResponse response,
      connection->CallAgain(&v1::Admin::Stub::Resume, v1::ResumeRequest()));
  EmitText(session.output, ToJson(response), "jobs are started again\n");
  return absl::OkStatus();
}

CommandRun DefineResume(CLI::App& /*app*/) { return Resume; }

absl::Status Backup(const Session& session, const std::string& path) {
  v1::BackupRequest request;
  request.set_path(AbsolutePath(path));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::BackupResponse response,
                   connection->Call(&v1::Admin::Stub::Backup, request,
                                    absl::InfiniteDuration()));
  EmitText(session.output, ToJson(response),
           absl::StrCat(Printable(response.path()), ": database and ",
                        HumanCount(response.artifact_count()), " artifacts, ",
                        HumanBytes(response.size_bytes()), "\n"));
  return absl::OkStatus();
}

CommandRun DefineBackup(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  app.add_option("PATH", *path,
                 "Folder on the server's machine that does not exist yet")
      ->required();
  return [path](const Session& session) { return Backup(session, *path); };
}

absl::Status CollectGarbage(const Session& session, bool dry_run) {
  v1::CollectGarbageRequest request;
  request.set_dry_run(dry_run);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::CollectGarbageResponse response,
                   connection->Call(&v1::Admin::Stub::CollectGarbage, request,
                                    absl::InfiniteDuration()));
  Table table({{""}, {"ARTIFACTS", Align::kRight}, {"SIZE", Align::kRight}});
  table.AddRow({dry_run ? "would go" : "removed",
                HumanCount(response.removed_count()),
                HumanBytes(response.removed_bytes())});
  table.AddRow({dry_run ? "would stay" : "kept",
                HumanCount(response.kept_count()),
                HumanBytes(response.kept_bytes())});
  EmitOne(session.output, ToJson(response), table);
  return absl::OkStatus();
}

CommandRun DefineGarbage(CLI::App& app) {
  auto dry_run = std::make_shared<bool>(false);
  app.add_flag("--dry-run", *dry_run, "Only say what would go");
  return [dry_run](const Session& session) {
    return CollectGarbage(session, *dry_run);
  };
}

struct AuditArgs {
  std::string user;
  size_t limit = 100;
};

// "Jobs.CreateJob" for "/dissonance.v1.Jobs/CreateJob".
std::string ShortMethod(absl::string_view method) {
  absl::ConsumePrefix(&method, "/dissonance.v1.");
  return absl::StrReplaceAll(method, {{"/", "."}});
}

absl::Status Audit(const Session& session, const AuditArgs& args) {
  v1::ListAuditEventsRequest request;
  if (!args.user.empty()) request.set_user(UserName(args.user));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const std::vector<v1::AuditEvent> events,
      ListAll(*connection, &v1::Admin::Stub::ListAuditEvents, request,
              &v1::ListAuditEventsResponse::events, args.limit));
  Table table({{"NUMBER", Align::kRight},
               {"TIME"},
               {"USER"},
               {"METHOD"},
               {"RESULT"},
               {"RESOURCE"},
               {"FROM"},
               {"REQUEST"}});
  std::vector<nlohmann::json> records;
  for (const v1::AuditEvent& event : events) {
    records.push_back(ToJson(event));
    table.AddRow({absl::StrCat(event.number()), HumanTime(event.time()),
                  ShortName(event.user()), ShortMethod(event.method()),
                  event.code(),
                  event.resource().empty() ? "-" : event.resource(),
                  event.peer(), event.request_id()});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineAudit(CLI::App& app) {
  auto args = std::make_shared<AuditArgs>();
  app.add_option("--user", args->user, "Only what this user changed");
  app.add_option("--limit", args->limit, "At most this many, newest first")
      ->capture_default_str();
  return [args](const Session& session) { return Audit(session, *args); };
}

}  // namespace

std::vector<Command> AdminCommands() {
  return {
      {"admin", "drain", "Start no more jobs, for maintenance", DefineDrain},
      {"admin", "resume", "Start jobs again", DefineResume},
      {"admin", "backup", "Copy records and artifacts into a new folder",
       DefineBackup},
      {"admin", "gc", "Remove artifacts that nothing names", DefineGarbage},
      {"admin", "audit", "Who changed what, newest first", DefineAudit},
  };
}

}  // namespace dissonance::cli
