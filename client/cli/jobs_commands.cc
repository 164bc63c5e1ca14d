// dissonance jobs list | show | watch | logs | fetch | cancel | pause | resume
// | retry | delete.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_view.h"
#include "client/cli/job_watch.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/proto_json.h"
#include "src/base/clock.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// Between looks at a job that is about to stop.
constexpr absl::Duration kFirstWait = absl::Milliseconds(50);
constexpr absl::Duration kLongestWait = absl::Seconds(1);

void EmitJob(const Session& session, const v1::Job& job) {
  EmitOne(session.output, ToJson(job), DetailsOf(job));
}

struct ListArgs {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  size_t limit = 100;
  bool all_users = false;
};

std::vector<Table::Column> ListColumns(bool with_owner) {
  std::vector<Table::Column> columns = {{"JOB"},
                                        {"KIND"},
                                        {"SUBJECT"},
                                        {"STATE"},
                                        {"PROGRESS", Align::kRight},
                                        {"CREATED"},
                                        {"REASON"}};
  if (with_owner) columns.insert(columns.begin() + 1, {"OWNER"});
  return columns;
}

absl::Status List(const Session& session, const ListArgs& args) {
  v1::ListJobsRequest request;
  request.set_state(args.state);
  request.set_all_users(args.all_users);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs,
                   ListAll(*connection, &v1::Jobs::Stub::ListJobs, request,
                           &v1::ListJobsResponse::jobs, args.limit));
  Table table(ListColumns(args.all_users));
  std::vector<nlohmann::json> records;
  for (const v1::Job& job : jobs) {
    records.push_back(ToJson(job));
    std::vector<std::string> row = {
        ShortName(job.name()), KindOf(job),     SubjectOf(job),
        EnumWord(job.state()), ProgressOf(job), HumanTime(job.create_time()),
        job.reason()};
    if (args.all_users) row.insert(row.begin() + 1, OwnerOrDash(job.owner()));
    table.AddRow(std::move(row));
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& app) {
  auto args = std::make_shared<ListArgs>();
  AddChoice<v1::JobState>(app, "--state", "STATE", args->state,
                          {{"queued", v1::JOB_STATE_QUEUED},
                           {"waiting", v1::JOB_STATE_WAITING},
                           {"running", v1::JOB_STATE_RUNNING},
                           {"succeeded", v1::JOB_STATE_SUCCEEDED},
                           {"failed", v1::JOB_STATE_FAILED},
                           {"cancelling", v1::JOB_STATE_CANCELLING},
                           {"cancelled", v1::JOB_STATE_CANCELLED},
                           {"pausing", v1::JOB_STATE_PAUSING},
                           {"paused", v1::JOB_STATE_PAUSED}},
                          "Only jobs that are queued, waiting, running, "
                          "succeeded, failed, cancelling, cancelled, pausing "
                          "or paused");
  app.add_option("--limit", args->limit, "At most this many, newest first")
      ->capture_default_str();
  app.add_flag("--all-users", args->all_users,
               "Everybody's, with their owners; for administrators");
  return [args](const Session& session) { return List(session, *args); };
}

absl::StatusOr<v1::Job> Fetch(Connection& connection, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   connection.Call(&v1::Jobs::Stub::GetJob, request));
  return response.job();
}

absl::Status Show(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::Job job, Fetch(*connection, name));
  EmitJob(session, job);
  return absl::OkStatus();
}

struct WatchArgs {
  std::string name;
  int64_t after = 0;
};

absl::Status Watch(const Session& session, const WatchArgs& args) {
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  const bool lines = session.output == OutputFormat::kJsonLines;
  JobWatcher watcher(
      *connection, *interrupts, display, [lines](const v1::JobEvent& event) {
        if (!lines) return;
        EmitOne(OutputFormat::kJsonLines, ToJson(event), Table({{""}}));
        std::fflush(stdout);
      });
  ASSIGN_OR_RETURN(const v1::Job job,
                   watcher.Watch(JobName(args.name), args.after));
  // As JSON lines the events are the output; the last one tells the end.
  if (!lines) EmitJob(session, job);
  return StatusOfEnded(job);
}

CommandRun DefineWatch(CLI::App& app) {
  auto args = std::make_shared<WatchArgs>();
  app.add_option("JOB", args->name, "Job to follow")->required();
  app.add_option("--after", args->after, "Only events with a greater number");
  return [args](const Session& session) { return Watch(session, *args); };
}

void EmitLogLine(OutputFormat format, const v1::JobEvent& event) {
  if (!event.has_log()) return;
  Table table({{""}, {""}});
  table.AddRow({HumanTime(event.time()), event.log()});
  // A JSON array would never close while lines come: one object a line.
  EmitOne(format == OutputFormat::kTable ? format : OutputFormat::kJsonLines,
          ToJson(event), table);
  std::fflush(stdout);
}

struct LogsArgs {
  std::string name;
  bool follow = false;
};

absl::Status Logs(const Session& session, const LogsArgs& args) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::Job job, Fetch(*connection, args.name));
  v1::WatchJobRequest request;
  request.set_name(job.name());
  const auto context = connection->NewContext();
  const auto reader =
      connection->stub<v1::Jobs::Stub>().WatchJob(context.get(), request);
  v1::WatchJobResponse response;
  bool enough = !args.follow && job.last_event_number() == 0;
  while (!enough && reader->Read(&response)) {
    if (!response.has_event()) continue;
    EmitLogLine(session.output, response.event());
    enough =
        !args.follow && response.event().number() >= job.last_event_number();
  }
  if (enough) context->TryCancel();
  const grpc::Status end = reader->Finish();
  return enough ? absl::OkStatus() : connection->Explain(end);
}

CommandRun DefineLogs(CLI::App& app) {
  auto args = std::make_shared<LogsArgs>();
  app.add_option("JOB", args->name, "Job whose log is meant")->required();
  app.add_flag("-f,--follow", args->follow, "Go on until the job ends");
  return [args](const Session& session) { return Logs(session, *args); };
}

struct FetchArgs {
  std::string name;
  std::string out;
};

absl::Status FetchFiles(const Session& session, const FetchArgs& args) {
  const std::string directory = AbsolutePath(args.out);
  RETURN_IF_ERROR(PrepareFolder(directory));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::Job job, Fetch(*connection, args.name));
  if (job.outputs().empty()) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            job.name(), " is ", EnumWord(job.state()), " and has no files")),
        absl::StrCat("follow it with: dissonance jobs watch ",
                     ShortName(job.name())));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   DownloadOutputs(*connection, job, directory));
  EmitText(session.output,
           {{"job", job.name()}, {"directory", directory}, {"files", paths}},
           absl::StrCat(absl::StrJoin(paths, "\n"), "\n"));
  return absl::OkStatus();
}

CommandRun DefineFetch(CLI::App& app) {
  auto args = std::make_shared<FetchArgs>();
  app.add_option("JOB", args->name, "Job whose files are meant")->required();
  app.add_option("--out", args->out, "Folder for the files")->required();
  return [args](const Session& session) { return FetchFiles(session, *args); };
}

// cancel, resume and retry differ in the call alone.
template <typename Request, typename Response,
          grpc::Status (v1::Jobs::Stub::*method)(grpc::ClientContext*,
                                                 const Request&, Response*)>
absl::Status CallAndShow(const Session& session, const std::string& name) {
  Request request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const Response response, connection->Call(method, request));
  EmitJob(session, response.job());
  return absl::OkStatus();
}

constexpr auto kCancel =
    CallAndShow<v1::CancelJobRequest, v1::CancelJobResponse,
                &v1::Jobs::Stub::CancelJob>;
constexpr auto kRetry = CallAndShow<v1::RetryJobRequest, v1::RetryJobResponse,
                                    &v1::Jobs::Stub::RetryJob>;
constexpr auto kResume =
    CallAndShow<v1::ResumeJobRequest, v1::ResumeJobResponse,
                &v1::Jobs::Stub::ResumeJob>;

// Returns once nothing runs any more, so that what follows finds it PAUSED. It
// will be, too, if Ctrl-C ends the wait.
absl::Status Pause(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::PauseJobRequest request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(const v1::PauseJobResponse response,
                   connection->Call(&v1::Jobs::Stub::PauseJob, request));
  v1::Job job = response.job();
  v1::GetJobRequest get;
  get.set_name(request.name());
  for (absl::Duration wait = kFirstWait; job.state() == v1::JOB_STATE_PAUSING;
       wait = std::min(2 * wait, kLongestWait)) {
    absl::SleepFor(wait);
    ASSIGN_OR_RETURN(v1::GetJobResponse now,
                     connection->CallAgain(&v1::Jobs::Stub::GetJob, get));
    job = std::move(*now.mutable_job());
  }
  EmitJob(session, job);
  return absl::OkStatus();
}

absl::Status Delete(const Session& session, const std::string& name) {
  v1::DeleteJobRequest request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  RETURN_IF_ERROR(
      connection->Call(&v1::Jobs::Stub::DeleteJob, request).status());
  Table table({{""}});
  table.AddRow({absl::StrCat("deleted ", request.name())});
  EmitOne(session.output, {{"name", request.name()}}, table);
  return absl::OkStatus();
}

template <absl::Status (*run)(const Session&, const std::string&)>
CommandRun DefineNamed(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("JOB", *name, "jobs/ULID or the ULID")->required();
  return [name](const Session& session) { return run(session, *name); };
}

}  // namespace

std::vector<Command> JobsCommands() {
  return {
      {"jobs", "list", "List jobs, newest first", DefineList},
      {"jobs", "show", "Show one job", DefineNamed<Show>},
      {"jobs", "watch", "Follow a job until it ends", DefineWatch},
      {"jobs", "logs", "Print a job's log lines", DefineLogs},
      {"jobs", "fetch", "Write a job's files into a folder", DefineFetch},
      {"jobs", "cancel", "Stop a job; what it recorded is kept",
       DefineNamed<kCancel>},
      {"jobs", "pause", "Stop a job so that it can go on where it stopped",
       DefineNamed<Pause>},
      {"jobs", "resume", "Queue a paused job again", DefineNamed<kResume>},
      {"jobs", "retry", "Queue a failed or cancelled job again",
       DefineNamed<kRetry>},
      {"jobs", "delete", "Forget an ended job; its artifacts stay",
       DefineNamed<Delete>},
  };
}

}  // namespace dissonance::cli
