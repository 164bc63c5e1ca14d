#include "client/cli/eval_mcq.h"

#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/compared_variants.h"
#include "client/cli/download.h"
#include "client/cli/earlier_job.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_watch.h"
#include "client/cli/mcq_summary.h"
#include "client/cli/names.h"
#include "client/cli/progress.h"
#include "client/cli/proto_json.h"
#include "client/cli/request_id.h"
#include "client/cli/upload.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_files.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kDataLimitBytes = 16 << 20;
constexpr uint64_t kUploadLimitBytes = 256 << 20;
constexpr uint64_t kReportLimitBytes = uint64_t{1} << 30;

absl::StatusOr<McqQuestions> ReadQuestions(const EvalMcqArgs& args) {
  McqQuestions questions;
  ASSIGN_OR_RETURN(
      questions.bytes,
      ReadInput(args.data, args.upload ? kUploadLimitBytes : kDataLimitBytes));
  ASSIGN_OR_RETURN(questions.items,
                   ParseMcqData(questions.bytes, InputLabel(args.data)));
  RETURN_IF_ERROR(
      CheckBeliefIsMeasured(questions.items, InputLabel(args.data)));
  return questions;
}

// Stores the questions on the server, for a spec that names them.
absl::Status SendQuestions(Connection& connection, const EvalMcqArgs& args,
                           McqQuestions& questions) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  ASSIGN_OR_RETURN(
      const v1::Artifact artifact,
      SendUpload(connection,
                 UploadOfBytes(questions.bytes, InputLabel(args.data)),
                 "application/jsonl", display));
  questions.artifact = artifact.name();
  return absl::OkStatus();
}

// With several formats each job has its own key and folder.
std::string Extended(const std::string& text, const char* separator,
                     const EvalMcqArgs& args, v1::McqScoring scoring) {
  if (args.scorings.size() < 2) return text;
  return absl::StrCat(text, separator, McqScoringName(scoring));
}

std::string FolderOf(const EvalMcqArgs& args, v1::McqScoring scoring) {
  return Extended(AbsolutePath(args.out), "/", args, scoring);
}

v1::JobPriority PriorityOf(const EvalMcqArgs& args) {
  if (args.priority != v1::JOB_PRIORITY_UNSPECIFIED) return args.priority;
  return args.detach ? v1::JOB_PRIORITY_NORMAL : v1::JOB_PRIORITY_INTERACTIVE;
}

absl::StatusOr<std::vector<v1::Job>> CreateAll(Connection& connection,
                                               const EvalMcqArgs& args,
                                               McqQuestions& questions) {
  if (args.upload) {
    RETURN_IF_ERROR(SendQuestions(connection, args, questions));
  }
  const std::string key =
      args.request_id.empty() ? RandomRequestId() : args.request_id;
  std::vector<v1::Job> jobs;
  for (const v1::McqScoring scoring : args.scorings) {
    v1::CreateJobRequest request;
    *request.mutable_spec()->mutable_evaluate_mcq() =
        McqSpec(args, questions, scoring);
    request.set_request_id(Extended(key, "-", args, scoring));
    request.set_priority(PriorityOf(args));
    for (const std::string& job : args.after) {
      request.add_depends_on(JobName(job));
    }
    // The request id makes asking again safe.
    ASSIGN_OR_RETURN(v1::CreateJobResponse response,
                     connection.CallAgain(&v1::Jobs::Stub::CreateJob, request));
    RETURN_IF_ERROR(CheckNotReplaced(connection, response.job()));
    jobs.push_back(std::move(*response.mutable_job()));
  }
  return jobs;
}

// Before anything is computed: the folders can be written to.
absl::StatusOr<std::vector<ResultFolder>> PrepareFolders(
    const EvalMcqArgs& args) {
  std::vector<ResultFolder> folders;
  if (args.detach) return folders;
  for (const v1::McqScoring scoring : args.scorings) {
    ASSIGN_OR_RETURN(ResultFolder folder,
                     ResultFolder::Prepare(FolderOf(args, scoring)));
    folders.push_back(std::move(folder));
  }
  return folders;
}

// Tells of results of another job that will be replaced.
void WarnOfOtherResults(const EvalMcqArgs& args,
                        const std::vector<v1::Job>& jobs) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    const std::string folder = FolderOf(args, args.scorings[i]);
    const std::string other = JobOfResults(folder);
    if (other.empty() || other == jobs[i].name()) continue;
    absl::FPrintF(stderr,
                  "note: %s holds the results of %s; they will be replaced\n",
                  Printable(folder), Printable(other));
  }
}

// The report among the files that were written, as JSON.
absl::StatusOr<nlohmann::json> ReportIn(const std::string& directory,
                                        bool compared) {
  const std::string path = absl::StrCat(
      directory, "/", compared ? McqComparisonName(1) : "summary.json");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kReportLimitBytes));
  return ParseJson(text, path);
}

std::string NextSteps(const EvalMcqArgs& args, const v1::Job& job) {
  std::string out = "\ntry next\n";
  if (args.variants.size() > 1) {
    absl::StrAppend(&out, "  less ", FolderOf(args, args.scorings.front()), "/",
                    McqShiftAnalysisName(1),
                    "    every flip with its options\n");
  } else {
    out += "  the same with --adapter A    base and adapter side by side\n";
  }
  if (args.scorings.size() < 2) {
    const bool letters =
        args.scorings.front() == v1::MCQ_SCORING_LETTER_VARIANTS;
    absl::StrAppend(&out, "  the same with --scoring ",
                    letters ? "option_text" : "letters",
                    "    another answer format\n");
  }
  return absl::StrCat(out, "  dissonance jobs show ", ShortName(job.name()),
                      " -o json    what ran, with digests and versions\n");
}

// Fetches and shows what one job found.
absl::StatusOr<nlohmann::json> Conclude(const Session& session,
                                        Connection& connection,
                                        const EvalMcqArgs& args,
                                        const McqQuestions& questions,
                                        const v1::Job& job) {
  const v1::McqScoring scoring = job.spec().evaluate_mcq().scoring();
  const std::string directory = FolderOf(args, scoring);
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   DownloadOutputs(connection, job, directory));
  const int variants = job.spec().evaluate_mcq().variants_size();
  if (session.output != OutputFormat::kTable) {
    ASSIGN_OR_RETURN(nlohmann::json report, ReportIn(directory, variants > 1));
    return nlohmann::json{{"job", ToJson(job)},
                          {"directory", directory},
                          {"files", paths},
                          {"report", std::move(report)}};
  }
  ASSIGN_OR_RETURN(const McqOutcome outcome, ReadOutcome(directory, variants));
  EmitText(session.output, nullptr, RenderOutcome(outcome, questions.items));
  EmitText(session.output, nullptr,
           absl::StrCat(
               "\nfiles in ", directory, "\n  ",
               absl::StrJoin(job.outputs(), "\n  ",
                             [](std::string* out, const v1::JobOutput& output) {
                               out->append(output.file_name());
                             }),
               "\n"));
  return nlohmann::json();
}

void EmitDetached(const Session& session, const std::vector<v1::Job>& jobs) {
  Table table({{""}});
  std::vector<nlohmann::json> records;
  for (const v1::Job& job : jobs) {
    table.AddRow({job.name()});
    records.push_back(ToJson(job));
  }
  Emit(session.output, records, table);
  const std::string first = ShortName(jobs.front().name());
  absl::FPrintF(stderr,
                "follow it with: dissonance jobs watch %s\n"
                "then get its files with: dissonance jobs fetch %s --out DIR\n",
                first, first);
}

// Follows a job to its end; one that was found ended is taken as it is.
absl::StatusOr<v1::Job> Await(Connection& connection, Interrupts& interrupts,
                              const v1::Job& job) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  const std::string name = absl::StrCat(
      job.name(), ": ", McqScoringName(job.spec().evaluate_mcq().scoring()));
  if (HasEnded(job.state())) {
    display.Line(absl::StrCat(name, ", found: it ", EnumWord(job.state()),
                              " at ", HumanTime(job.end_time())));
    return job;
  }
  display.Line(name);
  return JobWatcher(connection, interrupts, display).Watch(job.name(), 0);
}

absl::Status RunAll(const Session& session, const EvalMcqArgs& args,
                    McqQuestions& questions) {
  ASSIGN_OR_RETURN(const std::vector<ResultFolder> folders,
                   PrepareFolders(args));
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  absl::StatusOr<std::vector<v1::Job>> created;
  interrupts->EndProcessDuring(
      [&] { created = CreateAll(*connection, args, questions); });
  if (!created.ok()) return created.status();
  const std::vector<v1::Job>& jobs = *created;
  if (args.detach) {
    EmitDetached(session, jobs);
    return absl::OkStatus();
  }
  WarnOfOtherResults(args, jobs);
  std::vector<nlohmann::json> records;
  for (size_t i = 0; i < jobs.size(); ++i) {
    ASSIGN_OR_RETURN(const v1::Job job,
                     Await(*connection, *interrupts, jobs[i]));
    RETURN_IF_ERROR(StatusOfEnded(job));
    if (i > 0 && session.output == OutputFormat::kTable) {
      EmitText(session.output, nullptr, "\n");
    }
    absl::StatusOr<nlohmann::json> record;
    interrupts->EndProcessDuring(
        [&] { record = Conclude(session, *connection, args, questions, job); });
    if (!record.ok()) return record.status();
    records.push_back(*std::move(record));
  }
  if (session.output == OutputFormat::kTable) {
    EmitText(session.output, nullptr, NextSteps(args, jobs.front()));
  } else if (records.size() == 1) {
    EmitOne(session.output, records.front(), Table({{""}}));
  } else {
    Emit(session.output, records, Table({{""}}));
  }
  return absl::OkStatus();
}

}  // namespace

v1::EvaluateMcqSpec McqSpec(const EvalMcqArgs& args,
                            const McqQuestions& questions,
                            v1::McqScoring scoring) {
  v1::EvaluateMcqSpec spec;
  for (const NamedVariant& each : args.variants) {
    *spec.add_variants() = each.variant;
  }
  if (questions.artifact.empty()) {
    spec.set_data(questions.bytes);
  } else {
    spec.set_data_artifact(questions.artifact);
  }
  spec.set_data_name(
      std::filesystem::path(InputLabel(args.data)).filename().string());
  spec.set_scoring(scoring);
  spec.set_mc_dropout_sample_count(args.dropout_samples);
  spec.set_seed(args.seed);
  return spec;
}

absl::Status EvalMcq(const Session& session, const EvalMcqArgs& args) {
  EvalMcqArgs complete = args;
  ASSIGN_OR_RETURN(complete.variants, ComparedVariants(args.network, {}));
  if (complete.scorings.empty()) {
    complete.scorings = {v1::MCQ_SCORING_LETTER_VARIANTS};
  }
  for (const v1::McqScoring scoring : complete.scorings) {
    // Each format has one job and one folder.
    if (absl::c_count(complete.scorings, scoring) > 1) {
      return UsageError("--scoring names the same answer format twice");
    }
  }
  if (complete.out.empty() && !complete.detach && !complete.dry_run) {
    return UsageError("--out is required: the folder for the result files");
  }
  if (complete.priority != v1::JOB_PRIORITY_UNSPECIFIED && !complete.detach) {
    return UsageError(
        "--priority is for --detach; a job that you wait for is interactive");
  }
  ASSIGN_OR_RETURN(McqQuestions questions, ReadQuestions(complete));
  return complete.dry_run ? EstimateMcq(session, complete, questions)
                          : RunAll(session, complete, questions);
}

}  // namespace dissonance::cli
