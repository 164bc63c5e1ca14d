// dissonance finetune.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/finetune_options.h"
#include "client/cli/finetune_view.h"
#include "client/cli/input_file.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_watch.h"
#include "client/cli/names.h"
#include "client/cli/progress.h"
#include "client/cli/proto_json.h"
#include "client/cli/request_id.h"
#include "client/cli/upload.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// What a request carries of both files; a file beyond it is uploaded first.
constexpr size_t kInlineLimitBytes = size_t{16} << 20;
constexpr uint64_t kFileLimitBytes = uint64_t{256} << 20;
constexpr char kPlanName[] = "plan.json";
constexpr char kCheckpointPrefix[] = "checkpoint-";

// The files of a job, as read.
struct Files {
  std::string data;
  std::string evaluation_data;
};

absl::StatusOr<std::string> ReadLines(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, ReadInput(path, kFileLimitBytes));
  if (!bytes.empty()) return bytes;
  return absl::InvalidArgumentError(
      absl::StrCat(InputLabel(path),
                   " is empty; it needs a JSON object a "
                   "line"));
}

absl::StatusOr<Files> ReadFiles(const FinetuneArgs& args) {
  Files files;
  ASSIGN_OR_RETURN(files.data, ReadLines(args.data));
  if (!args.evaluation_data.empty()) {
    ASSIGN_OR_RETURN(files.evaluation_data, ReadLines(args.evaluation_data));
  }
  return files;
}

absl::StatusOr<std::string> SendFile(Connection& connection,
                                     const std::string& bytes,
                                     const std::string& path) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  ASSIGN_OR_RETURN(
      const v1::Artifact artifact,
      SendUpload(connection, UploadOfBytes(bytes, InputLabel(path)),
                 "application/jsonl", display));
  return artifact.name();
}

// Puts the files into the spec, or on the server where they are too large.
absl::Status AddFiles(Connection& connection, const FinetuneArgs& args,
                      const Files& files, v1::FineTuneSpec& spec) {
  size_t room = kInlineLimitBytes;
  if (files.evaluation_data.size() <= room) {
    spec.set_evaluation_data(files.evaluation_data);
    room -= files.evaluation_data.size();
  } else {
    ASSIGN_OR_RETURN(
        *spec.mutable_evaluation_data_artifact(),
        SendFile(connection, files.evaluation_data, args.evaluation_data));
  }
  if (files.data.size() <= room) {
    spec.set_data(files.data);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(*spec.mutable_data_artifact(),
                   SendFile(connection, files.data, args.data));
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> CreateJob(Connection& connection,
                                  const FinetuneArgs& args,
                                  const Files& files) {
  v1::CreateJobRequest request;
  v1::FineTuneSpec& spec = *request.mutable_spec()->mutable_fine_tune();
  spec = FinetuneSpec(args);
  RETURN_IF_ERROR(AddFiles(connection, args, files, spec));
  request.set_request_id(args.request_id.empty() ? RandomRequestId()
                                                 : args.request_id);
  request.set_priority(args.priority);
  for (const std::string& job : args.after) {
    request.add_depends_on(JobName(job));
  }
  // The request id makes asking again safe.
  ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                   connection.CallAgain(&v1::Jobs::Stub::CreateJob, request));
  return response.job();
}

void EmitDetached(const Session& session, const v1::Job& job) {
  Table table({{""}});
  table.AddRow({job.name()});
  EmitOne(session.output, ToJson(job), table);
  const std::string name = ShortName(job.name());
  absl::FPrintF(stderr,
                "follow it with: dissonance jobs watch %s\n"
                "stop it for a while with: dissonance jobs pause %s\n",
                name, name);
}

// One line a point: {"step": 1, "loss": 2.5, ...}.
void EmitPoint(const v1::JobEvent& event) {
  if (!event.has_metrics()) return;
  nlohmann::json record = {{"step", event.metrics().step()}};
  for (const auto& [name, value] : event.metrics().values()) {
    record[name] = FiniteOrNull(value);
  }
  EmitOne(OutputFormat::kJsonLines, record, Table({{""}}));
  std::fflush(stdout);
}

absl::StatusOr<std::vector<std::string>> FetchFiles(Connection& connection,
                                                    const FinetuneArgs& args,
                                                    const v1::Job& job) {
  if (args.out.empty()) return std::vector<std::string>();
  return DownloadOutputs(connection, job, AbsolutePath(args.out),
                         [&args](const v1::JobOutput& output) {
                           return args.with_checkpoints ||
                                  !absl::StartsWith(output.file_name(),
                                                    kCheckpointPrefix);
                         });
}

// Shows what came of a job that SUCCEEDED.
absl::Status Conclude(const Session& session, Connection& connection,
                      const FinetuneArgs& args, const v1::Job& job,
                      const TrainingCurves& curves) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   FetchFiles(connection, args, job));
  const v1::FineTuneSpec& spec = job.spec().fine_tune();
  if (spec.dry_run()) {
    ASSIGN_OR_RETURN(const nlohmann::json plan,
                     DownloadReport(connection, job, kPlanName));
    EmitOne(session.output, plan, PlanOf(plan));
    return absl::OkStatus();
  }
  v1::GetAdapterRequest request;
  request.set_name(spec.output_adapter());
  ASSIGN_OR_RETURN(const v1::GetAdapterResponse response,
                   connection.Call(&v1::Models::Stub::GetAdapter, request));
  nlohmann::json record = OutcomeJson(job, curves, response.adapter());
  record["files"] = paths;
  EmitOne(session.output, record, OutcomeOf(job, curves, response.adapter()));
  if (session.output != OutputFormat::kTable) return absl::OkStatus();
  if (!paths.empty()) {
    EmitText(session.output, nullptr,
             absl::StrCat("\nfiles\n  ", absl::StrJoin(paths, "\n  "), "\n"));
  }
  EmitText(session.output, nullptr, UsesOf(spec, args.evaluation_data));
  return absl::OkStatus();
}

absl::Status Watch(const Session& session, Connection& connection,
                   Interrupts& interrupts, const FinetuneArgs& args,
                   const v1::Job& created) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  display.Line(created.name());
  const bool lines = session.output == OutputFormat::kJsonLines;
  JobWatcher watcher(connection, interrupts, display,
                     [lines](const v1::JobEvent& event) {
                       if (lines) EmitPoint(event);
                     });
  ASSIGN_OR_RETURN(const v1::Job job, watcher.Watch(created.name(), 0));
  RETURN_IF_ERROR(StatusOfEnded(job));
  absl::Status concluded;
  interrupts.EndProcessDuring([&] {
    concluded = Conclude(session, connection, args, job, watcher.curves());
  });
  return concluded;
}

absl::Status Finetune(const Session& session, const FinetuneArgs& args) {
  if (args.detach && !args.out.empty()) {
    return UsageError(
        "--out is for a job that you wait for; with --detach, get its files "
        "later by: dissonance jobs fetch JOB --out DIR");
  }
  ASSIGN_OR_RETURN(const Files files, ReadFiles(args));
  if (!args.out.empty()) RETURN_IF_ERROR(PrepareFolder(AbsolutePath(args.out)));
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  absl::StatusOr<v1::Job> job;
  interrupts->EndProcessDuring(
      [&] { job = CreateJob(*connection, args, files); });
  RETURN_IF_ERROR(job.status());
  if (args.detach) {
    EmitDetached(session, *job);
    return absl::OkStatus();
  }
  return Watch(session, *connection, *interrupts, args, *job);
}

CommandRun DefineFinetune(CLI::App& app) {
  auto args = std::make_shared<FinetuneArgs>();
  AddFinetuneOptions(app, *args);
  return [args](const Session& session) { return Finetune(session, *args); };
}

}  // namespace

std::vector<Command> FinetuneCommands() {
  return {
      {"finetune", "", "Train a LoRA adapter on documents", DefineFinetune}};
}

}  // namespace dissonance::cli
