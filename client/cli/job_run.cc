#include "client/cli/job_run.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/choice.h"
#include "client/cli/download.h"
#include "client/cli/earlier_job.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_watch.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
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

constexpr size_t kInlineLimitBytes = size_t{16} << 20;
constexpr uint64_t kDataLimitBytes = uint64_t{256} << 20;
constexpr uint64_t kReportLimitBytes = uint64_t{1} << 30;

v1::JobPriority PriorityOf(const JobArgs& args) {
  if (args.priority != v1::JOB_PRIORITY_UNSPECIFIED) return args.priority;
  return args.detach ? v1::JOB_PRIORITY_NORMAL : v1::JOB_PRIORITY_INTERACTIVE;
}

// Names the models that are there, if the status is of one that is not.
absl::Status WithLoadedModels(Connection& connection,
                              const absl::Status& status) {
  if (!absl::IsNotFound(status) ||
      !absl::StrContains(status.message(), "no model ")) {
    return status;
  }
  const auto models =
      connection.Call(&v1::Models::Stub::ListModels, v1::ListModelsRequest());
  if (!models.ok()) return status;
  const std::string names = absl::StrJoin(
      models->models(), ", ", [](std::string* out, const v1::Model& model) {
        out->append(ShortName(model.name()));
      });
  return WithHint(status, names.empty() ? "no model is loaded"
                                        : absl::StrCat("loaded are: ", names));
}

absl::StatusOr<v1::Job> CreateJob(Connection& connection, const JobArgs& args,
                                  const JobSteps& steps) {
  v1::CreateJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), steps.fill(connection));
  request.set_request_id(args.request_id.empty() ? RandomRequestId()
                                                 : args.request_id);
  request.set_priority(PriorityOf(args));
  for (const std::string& job : args.after) {
    request.add_depends_on(JobName(job));
  }
  // The request id makes asking again safe.
  absl::StatusOr<v1::CreateJobResponse> created =
      connection.CallAgain(&v1::Jobs::Stub::CreateJob, request);
  if (!created.ok()) return WithLoadedModels(connection, created.status());
  v1::CreateJobResponse& response = *created;
  RETURN_IF_ERROR(CheckNotReplaced(connection, response.job()));
  return std::move(*response.mutable_job());
}

void EmitDetached(const Session& session, const v1::Job& job) {
  Table table({{""}});
  table.AddRow({job.name()});
  EmitOne(session.output, ToJson(job), table);
  const std::string name = ShortName(job.name());
  absl::FPrintF(stderr,
                "follow it with: dissonance jobs watch %s\n"
                "then get its files with: dissonance jobs fetch %s --out DIR\n",
                name, name);
}

// Tells of results of another job that will be replaced.
void WarnOfOtherResults(const std::string& folder, const v1::Job& job) {
  const std::string other = JobOfResults(folder);
  if (other.empty() || other == job.name()) return;
  absl::FPrintF(stderr,
                "note: %s holds the results of %s; they will be replaced\n",
                Printable(folder), Printable(other));
}

// Follows a job to its end; one that was found ended is taken as it is.
absl::StatusOr<v1::Job> Await(Connection& connection, Interrupts& interrupts,
                              const v1::Job& job) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  if (HasEnded(job.state())) {
    display.Line(absl::StrCat(job.name(), ", found: it ", EnumWord(job.state()),
                              " at ", HumanTime(job.end_time())));
    return job;
  }
  display.Line(job.name());
  return JobWatcher(connection, interrupts, display).Watch(job.name(), 0);
}

absl::Status Conclude(const Session& session, Connection& connection,
                      const JobSteps& steps, const std::string& directory,
                      const v1::Job& job) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   DownloadOutputs(connection, job, directory));
  if (session.output != OutputFormat::kTable) {
    const std::string path = absl::StrCat(directory, "/", steps.report);
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kReportLimitBytes));
    ASSIGN_OR_RETURN(nlohmann::json report, ParseJson(text, path));
    const nlohmann::json record = {{"job", ToJson(job)},
                                   {"directory", directory},
                                   {"files", paths},
                                   {"report", std::move(report)}};
    EmitOne(session.output, record, Table({{""}}));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::string text, steps.show(directory));
  EmitText(session.output, nullptr, text);
  EmitText(session.output, nullptr,
           absl::StrCat(
               "\nfiles in ", directory, "\n  ",
               absl::StrJoin(job.outputs(), "\n  ",
                             [](std::string* out, const v1::JobOutput& output) {
                               out->append(output.file_name());
                             }),
               "\n"));
  return absl::OkStatus();
}

bool HasFile(const v1::Job& job, const std::string& name) {
  return std::any_of(job.outputs().begin(), job.outputs().end(),
                     [&name](const v1::JobOutput& output) {
                       return output.file_name() == name;
                     });
}

}  // namespace

void AddJobOptions(CLI::App& app, JobArgs& args) {
  app.add_option("--out", args.out,
                 "Folder for the result files; needed unless --detach");
  app.add_option("--request-id", args.request_id,
                 "Name of this run: the same again finds the same job");
  app.add_option("--after", args.after,
                 "Job that has to succeed first; may be given again")
      ->type_name("JOB")
      ->allow_extra_args(false);
  AddChoice<v1::JobPriority>(
      app, "--priority", "PRIORITY", args.priority,
      {{"interactive", v1::JOB_PRIORITY_INTERACTIVE},
       {"normal", v1::JOB_PRIORITY_NORMAL},
       {"background", v1::JOB_PRIORITY_BACKGROUND}},
      "With --detach: interactive, normal (default), or background, which "
      "makes room for others");
  app.add_flag("--detach", args.detach, "Print the job's name and return");
}

absl::Status RunJob(const Session& session, const JobArgs& args,
                    const JobSteps& steps) {
  if (args.out.empty() && !args.detach) {
    return UsageError("--out is required: the folder for the result files");
  }
  if (args.priority != v1::JOB_PRIORITY_UNSPECIFIED && !args.detach) {
    return UsageError(
        "--priority is for --detach; a job that you wait for is interactive");
  }
  const std::string directory = args.detach ? "" : AbsolutePath(args.out);
  std::optional<ResultFolder> folder;
  if (!args.detach) {
    ASSIGN_OR_RETURN(ResultFolder prepared, ResultFolder::Prepare(directory));
    folder.emplace(std::move(prepared));
  }
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  absl::StatusOr<v1::Job> created;
  interrupts->EndProcessDuring(
      [&] { created = CreateJob(*connection, args, steps); });
  RETURN_IF_ERROR(created.status());
  if (args.detach) {
    EmitDetached(session, *created);
    return absl::OkStatus();
  }
  WarnOfOtherResults(directory, *created);
  ASSIGN_OR_RETURN(const v1::Job job,
                   Await(*connection, *interrupts, *created));
  const absl::Status ended = StatusOfEnded(job);
  if (!ended.ok() && !(steps.explain && HasFile(job, steps.report))) {
    return ended;
  }
  absl::Status concluded;
  interrupts->EndProcessDuring([&] {
    concluded = Conclude(session, *connection, steps, directory, job);
  });
  RETURN_IF_ERROR(concluded);
  return ended.ok() ? ended : steps.explain(directory, ended);
}

absl::StatusOr<nlohmann::json> RunForReport(const Session& session,
                                            const JobArgs& args,
                                            const JobSteps& steps) {
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  absl::StatusOr<v1::Job> created;
  interrupts->EndProcessDuring(
      [&] { created = CreateJob(*connection, args, steps); });
  RETURN_IF_ERROR(created.status());
  ASSIGN_OR_RETURN(const v1::Job job,
                   Await(*connection, *interrupts, *created));
  RETURN_IF_ERROR(StatusOfEnded(job));
  absl::StatusOr<nlohmann::json> report;
  interrupts->EndProcessDuring(
      [&] { report = DownloadReport(*connection, job, steps.report); });
  return report;
}

absl::StatusOr<JobData> ReadJobData(const std::string& path) {
  JobData data;
  data.path = path;
  ASSIGN_OR_RETURN(data.bytes, ReadInput(path, kDataLimitBytes));
  return data;
}

absl::StatusOr<std::string> SendJobData(Connection& connection,
                                        const JobData& data) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  ASSIGN_OR_RETURN(
      const v1::Artifact artifact,
      SendUpload(connection, UploadOfBytes(data.bytes, InputLabel(data.path)),
                 "application/jsonl", display));
  return artifact.name();
}

bool IsTooLargeToSend(const JobData& data) {
  return data.bytes.size() > kInlineLimitBytes;
}

std::string NameOfData(const JobData& data) {
  return std::filesystem::path(InputLabel(data.path)).filename().string();
}

}  // namespace dissonance::cli
