// dissonance report.
#include <spawn.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/job_watch.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "client/cli/proto_json.h"
#include "client/cli/report_run.h"
#include "client/cli/settings.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/report/report.h"

extern char** environ;

namespace dissonance::cli {
namespace {

struct ReportArgs {
  std::string job;
  std::string other;
  std::string out;
  bool open = false;
};

absl::StatusOr<v1::Job> FetchEnded(Connection& connection,
                                   const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   connection.Call(&v1::Jobs::Stub::GetJob, request));
  const v1::Job& job = response.job();
  if (HasEnded(job.state())) return job;
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      job.name(), " is ", EnumWord(job.state()),
                      "; a report is made of jobs that have ended")),
                  absl::StrCat("follow it with: dissonance jobs watch ",
                               ShortName(job.name())));
}

bool IsOfReport(const v1::JobOutput& output) {
  return output.file_name() == kReportFileName ||
         absl::StartsWith(output.file_name(), "report/");
}

absl::StatusOr<std::vector<std::string>> WriteFiles(
    const std::vector<JobFile>& files, const std::string& directory) {
  std::vector<std::string> paths;
  for (const JobFile& file : files) {
    paths.push_back(absl::StrCat(directory, "/", file.name));
    RETURN_IF_ERROR(
        MakeDirectories(paths.back().substr(0, paths.back().rfind('/'))));
    RETURN_IF_ERROR(WriteFileAtomically(paths.back(), file.contents));
  }
  return paths;
}

absl::StatusOr<std::vector<std::string>> MakeFiles(
    Connection& connection, const ReportArgs& args,
    const std::string& directory) {
  ASSIGN_OR_RETURN(const v1::Job job, FetchEnded(connection, args.job));
  const bool is_made =
      absl::c_any_of(job.outputs(), [](const v1::JobOutput& output) {
        return output.file_name() == kReportFileName;
      });
  if (args.other.empty() && is_made) {
    return DownloadOutputs(connection, job, directory, IsOfReport);
  }
  ASSIGN_OR_RETURN(const ReportRun run, FetchReportRun(connection, job));
  if (args.other.empty()) {
    ASSIGN_OR_RETURN(const std::vector<JobFile> files, MakeReport(run));
    return WriteFiles(files, directory);
  }
  ASSIGN_OR_RETURN(const v1::Job other, FetchEnded(connection, args.other));
  if (other.spec().kind_case() != job.spec().kind_case()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--with: ", other.name(), " is of another kind than ", job.name(),
        "; two pipelines can be compared, or two jobs of one kind"));
  }
  ASSIGN_OR_RETURN(const ReportRun second, FetchReportRun(connection, other));
  ASSIGN_OR_RETURN(const std::vector<JobFile> files,
                   MakeComparison(run, second));
  return WriteFiles(files, directory);
}

// Shows the file in the browser, if there is a screen to show it on.
void OpenFile(const std::string& path) {
#ifdef __APPLE__
  const bool has_screen = true;
  std::string opener = "open";
#else
  const bool has_screen = std::getenv("DISPLAY") != nullptr ||
                          std::getenv("WAYLAND_DISPLAY") != nullptr;
  std::string opener = "xdg-open";
#endif
  std::string argument = path;
  char* const argv[] = {opener.data(), argument.data(), nullptr};
  pid_t pid = 0;
  if (has_screen && ::posix_spawnp(&pid, opener.c_str(), nullptr, nullptr, argv,
                                   environ) == 0) {
    return;
  }
  absl::FPrintF(
      stderr, "%s; open this file in a browser: %s\n",
      has_screen ? absl::StrCat("there is no ", opener) : "there is no display",
      Printable(path));
}

absl::Status Report(const Session& session, const ReportArgs& args) {
  const std::string directory = AbsolutePath(
      args.out.empty() ? absl::StrCat("report-", ShortName(JobName(args.job)))
                       : args.out);
  RETURN_IF_ERROR(PrepareFolder(directory));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   MakeFiles(*connection, args, directory));
  EmitText(session.output,
           {{"job", JobName(args.job)},
            {"directory", directory},
            {"report", absl::StrCat(directory, "/", kReportFileName)},
            {"files", paths}},
           absl::StrCat(absl::StrJoin(paths, "\n"), "\n"));
  if (args.open) OpenFile(absl::StrCat(directory, "/", kReportFileName));
  return absl::OkStatus();
}

CommandRun DefineReport(CLI::App& app) {
  auto args = std::make_shared<ReportArgs>();
  app.add_option("JOB", args->job, "A pipeline, or any job that has ended")
      ->required();
  app.add_option("--with", args->other,
                 "Another one, to compare with: two pipelines, or two jobs of "
                 "one kind")
      ->type_name("JOB");
  app.add_option("--out", args->out,
                 "Folder for the files (default: ./report-ULID)");
  app.add_flag("--open", args->open, "Show it in the browser");
  app.footer(
      "Writes report.html, one file that needs no network, and the data of "
      "each plot as report/NAME.csv.");
  return [args](const Session& session) { return Report(session, *args); };
}

}  // namespace

std::vector<Command> ReportCommands() {
  return {{"report", "", "An experiment as one page to read", DefineReport}};
}

}  // namespace dissonance::cli
