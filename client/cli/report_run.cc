#include "client/cli/report_run.h"

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"
#include "src/lab/report/report_stage.h"

namespace dissonance::cli {
namespace {

absl::StatusOr<ReportStage> FetchStage(Connection& connection,
                                       const std::string& name,
                                       const v1::Job& job) {
  ReportStage stage = StageOf(name, job);
  for (const v1::JobOutput& output : job.outputs()) {
    if (!ReportTakes(job.spec().kind_case(), output)) continue;
    ASSIGN_OR_RETURN(stage.files[output.file_name()],
                     DownloadArtifact(connection, output.artifact()));
  }
  return stage;
}

absl::StatusOr<std::string> FetchFile(Connection& connection,
                                      const v1::Job& job,
                                      const char* file_name) {
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.file_name() == file_name) {
      return DownloadArtifact(connection, output.artifact());
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat(job.name(), " is ", EnumWord(job.state()), " and has no ",
                   file_name, "; a pipeline has it when it has ended"));
}

absl::StatusOr<ReportRun> FetchPipeline(Connection& connection,
                                        const v1::Job& job) {
  ASSIGN_OR_RETURN(const std::string gates,
                   FetchFile(connection, job, kGatesFileName));
  ASSIGN_OR_RETURN(ReportRun run, ReadGates(gates));
  run.title = job.spec().pipeline().title();
  run.not_shown.clear();
  ASSIGN_OR_RETURN(const std::string text,
                   FetchFile(connection, job, kStagesFileName));
  ASSIGN_OR_RETURN(const std::vector<StageEntry> stages, ReadStages(text));
  for (const StageEntry& entry : stages) {
    // The server's report does without the others, too.
    if (entry.state != "SUCCEEDED") {
      run.not_shown.push_back(entry.name);
      continue;
    }
    v1::GetJobRequest request;
    request.set_name(entry.job);
    absl::StatusOr<v1::GetJobResponse> response =
        connection.Call(&v1::Jobs::Stub::GetJob, request);
    if (absl::IsNotFound(response.status())) {
      absl::FPrintF(stderr,
                    "note: stage %s of %s is left out: its job %s is gone\n",
                    Printable(entry.name), job.name(), Printable(entry.job));
      run.not_shown.push_back(entry.name);
      continue;
    }
    RETURN_IF_ERROR(response.status());
    NameStages(stages, *response->mutable_job()->mutable_spec());
    ASSIGN_OR_RETURN(ReportStage stage,
                     FetchStage(connection, entry.name, response->job()));
    run.stages.push_back(std::move(stage));
  }
  return run;
}

}  // namespace

absl::StatusOr<ReportRun> FetchReportRun(Connection& connection,
                                         const v1::Job& job) {
  if (job.spec().has_pipeline()) return FetchPipeline(connection, job);
  const auto kind = job.spec().kind_case();
  ASSIGN_OR_RETURN(ReportStage stage,
                   FetchStage(connection, KindName(job.spec()), job));
  if (stage.files.empty() && stage.left_out.empty()) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            job.name(), " (", stage.name, ") is ", EnumWord(job.state()),
            " and has no files that a report tells of")),
        absl::StrCat("see what it has: dissonance jobs show ",
                     ShortName(job.name())));
  }
  ReportRun run = {
      .title = std::string(KindTitle(kind)), .stages = {}, .gates = {}};
  run.stages.push_back(std::move(stage));
  return run;
}

}  // namespace dissonance::cli
