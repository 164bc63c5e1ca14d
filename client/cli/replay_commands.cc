// dissonance replay, jobs diff.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_comparison.h"
#include "client/cli/job_watch.h"
#include "client/cli/names.h"
#include "client/cli/progress.h"
#include "client/cli/proto_json.h"
#include "client/cli/request_id.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct DiffArgs {
  std::string first;
  std::string second;
};

absl::Status Diff(const Session& session, const DiffArgs& args) {
  const std::string first = JobName(args.first);
  const std::string second = JobName(args.second);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::CompareJobsResponse comparison,
                   CompareJobs(*connection, first, second));
  EmitText(session.output, ToJson(comparison),
           RenderComparison(comparison, first, second));
  return absl::OkStatus();
}

CommandRun DefineDiff(CLI::App& app) {
  auto args = std::make_shared<DiffArgs>();
  app.add_option("FIRST", args->first, "jobs/ULID or the ULID")->required();
  app.add_option("SECOND", args->second, "jobs/ULID or the ULID")->required();
  return [args](const Session& session) { return Diff(session, *args); };
}

struct ReplayArgs {
  std::string name;
  bool detach = false;
};

absl::StatusOr<v1::Job> Start(Connection& connection, const ReplayArgs& args) {
  v1::ReplayJobRequest request;
  request.set_name(JobName(args.name));
  // Makes asking again safe.
  request.set_request_id(RandomRequestId());
  request.set_priority(args.detach ? v1::JOB_PRIORITY_NORMAL
                                   : v1::JOB_PRIORITY_INTERACTIVE);
  ASSIGN_OR_RETURN(const v1::ReplayJobResponse response,
                   connection.CallAgain(&v1::Jobs::Stub::ReplayJob, request));
  return response.job();
}

void EmitDetached(const Session& session, const ReplayArgs& args,
                  const v1::Job& job) {
  EmitText(session.output, ToJson(job), Printable(job.name()));
  const std::string short_name = Printable(ShortName(job.name()));
  absl::FPrintF(stderr,
                "follow it with: dissonance jobs watch %s\n"
                "then compare the two with: dissonance jobs diff %s %s\n",
                short_name, ShortName(JobName(args.name)), short_name);
}

// An error that names the files that differ, and what may be why.
absl::Status StatusOfReplay(const v1::CompareJobsResponse& comparison,
                            const std::string& first,
                            const std::string& second) {
  if (comparison.same_outputs()) return absl::OkStatus();
  std::vector<std::string> files;
  for (const v1::ComparedOutput& output : comparison.outputs()) {
    if (!output.equal() && !output.names_run()) {
      files.push_back(output.file_name());
    }
  }
  const bool changed =
      !comparison.inputs().empty() || !comparison.provenance().empty();
  return WithHint(
      absl::AbortedError(absl::StrCat(second, " gives other files than ", first,
                                      ": ", absl::StrJoin(files, ", "))),
      changed ? "what changed in between is listed above"
              : "nothing that is recorded changed in between; 'dissonance "
                "models selfcheck' tells whether the model computes the same "
                "twice");
}

absl::Status Conclude(const Session& session, Connection& connection,
                      const v1::Job& job) {
  const std::string& first = job.replay_of();
  ASSIGN_OR_RETURN(const v1::CompareJobsResponse comparison,
                   CompareJobs(connection, first, job.name()));
  std::string text = RenderVerdicts(comparison);
  if (!comparison.same_outputs()) {
    absl::StrAppend(&text, "\n",
                    RenderDifferences(comparison, first, job.name()));
  }
  EmitText(session.output,
           {{"job", ToJson(job)}, {"comparison", ToJson(comparison)}}, text);
  return StatusOfReplay(comparison, first, job.name());
}

absl::Status Replay(const Session& session, const ReplayArgs& args) {
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  absl::StatusOr<v1::Job> started;
  interrupts->EndProcessDuring([&] { started = Start(*connection, args); });
  if (!started.ok()) return started.status();
  if (args.detach) {
    EmitDetached(session, args, *started);
    return absl::OkStatus();
  }
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  display.Line(
      absl::StrCat(started->name(), ", a replay of ", started->replay_of()));
  ASSIGN_OR_RETURN(
      const v1::Job job,
      JobWatcher(*connection, *interrupts, display).Watch(started->name(), 0));
  RETURN_IF_ERROR(StatusOfEnded(job));
  absl::Status end;
  interrupts->EndProcessDuring(
      [&] { end = Conclude(session, *connection, job); });
  return end;
}

CommandRun DefineReplay(CLI::App& app) {
  auto args = std::make_shared<ReplayArgs>();
  app.add_option("JOB", args->name, "A job that succeeded")->required();
  app.add_flag("--detach", args->detach, "Print the new job's name and return");
  return [args](const Session& session) { return Replay(session, *args); };
}

}  // namespace

std::vector<Command> ReplayCommands() {
  return {
      {"jobs", "diff", "What two jobs differ in: asked, computed by, files",
       DefineDiff},
      {"replay", "", "Run a job again and compare what comes out",
       DefineReplay},
  };
}

}  // namespace dissonance::cli
