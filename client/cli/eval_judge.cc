#include "client/cli/eval_judge.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/choice.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/job_run.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/judge/judge_rows.h"
#include "src/lab/judge/judge_summary.h"
#include "src/lab/judge/judgement.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kDataLimitBytes = uint64_t{256} << 20;
constexpr uint64_t kJudgementsLimitBytes = uint64_t{1} << 30;
constexpr uint64_t kUniverseLimitBytes = uint64_t{1} << 20;
// A screen's worth; the report has all of them.
constexpr size_t kShiftsShown = 12;

struct EvalJudgeArgs {
  std::string source;               // the job that wrote the answers,
  std::vector<std::string> data;    // or their files,
  std::vector<std::string> judged;  // or files of judgements
  v1::JudgeSpec spec;               // what options say of it
  v1::HostedModel second;
  v1::JudgeMode mode = v1::JUDGE_MODE_UNSPECIFIED;
  int32_t passes = 1;
  std::optional<double> temperature;
  int32_t max_tokens = 0;
  std::optional<int32_t> retries;
  std::string universe;
  JobArgs job;
};

absl::StatusOr<std::vector<NamedText>> ReadAll(
    const std::vector<std::string>& paths, uint64_t limit_bytes) {
  std::vector<NamedText> files;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string contents, ReadInput(path, limit_bytes));
    files.push_back({InputLabel(path), std::move(contents)});
  }
  return files;
}

// The answers as one file, checked, so that errors name the right line.
absl::StatusOr<JobData> ReadAnswerData(const std::vector<std::string>& paths) {
  ASSIGN_OR_RETURN(std::vector<NamedText> files,
                   ReadAll(paths, kDataLimitBytes));
  RETURN_IF_ERROR(ReadAnswers(files).status());
  JobData data;
  data.path = paths.front();
  for (const NamedText& file : files) {
    absl::string_view contents = file.contents;
    // Such a mark may stand at the beginning alone.
    absl::ConsumePrefix(&contents, "\xEF\xBB\xBF");
    absl::StrAppend(&data.bytes, contents,
                    absl::EndsWith(contents, "\n") ? "" : "\n");
  }
  return data;
}

std::string NamesOf(const std::vector<std::string>& paths) {
  return absl::StrJoin(paths, ", ",
                       [](std::string* out, const std::string& path) {
                         out->append(NameOfData({path, ""}));
                       });
}

absl::StatusOr<std::string> ShowJudged(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/judgements.jsonl");
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, kJudgementsLimitBytes));
  ASSIGN_OR_RETURN(const Judgements all,
                   ReadJudgements({{path, std::move(text)}}));
  return PrintableLines(JudgeReport(SummarizeJudgements(all), kShiftsShown));
}

// Summing up asks nobody: whatever else was given would be ignored.
absl::Status CheckOnlyAggregates(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || name == "--aggregate" || name == "--out") {
      continue;
    }
    return UsageError(absl::StrCat(
        "--aggregate sums up judgements that are there and asks nobody: leave "
        "out ",
        name));
  }
  return absl::OkStatus();
}

absl::Status Aggregate(const Session& session, const EvalJudgeArgs& args) {
  ASSIGN_OR_RETURN(const std::vector<NamedText> files,
                   ReadAll(args.judged, kJudgementsLimitBytes));
  ASSIGN_OR_RETURN(const Judgements all, ReadJudgements(files));
  const JudgeSummary summary = SummarizeJudgements(all);
  const std::string file = JudgeSummaryFile(summary);
  ASSIGN_OR_RETURN(nlohmann::json report, ParseJson(file, "summary"));
  nlohmann::json record = {{"report", std::move(report)}};
  std::string text = PrintableLines(JudgeReport(summary, kShiftsShown));
  if (!args.job.out.empty()) {
    const std::string directory = AbsolutePath(args.job.out);
    const std::string paths[] = {absl::StrCat(directory, "/judge_summary.json"),
                                 absl::StrCat(directory, "/judge_report.txt")};
    if (const std::string job = JobOfResults(directory); !job.empty()) {
      absl::FPrintF(stderr,
                    "note: %s holds the results of %s; its summary and report "
                    "will be replaced\n",
                    Printable(directory), Printable(job));
    }
    RETURN_IF_ERROR(MakeDirectories(directory));
    RETURN_IF_ERROR(WriteFileAtomically(paths[0], file));
    RETURN_IF_ERROR(WriteFileAtomically(paths[1], JudgeReport(summary)));
    record["directory"] = directory;
    record["files"] = paths;
    absl::StrAppend(&text, "\nfiles\n  ", absl::StrJoin(paths, "\n  "), "\n");
  }
  EmitText(session.output, record, text);
  return absl::OkStatus();
}

// What the options ask for, but for the answers.
absl::StatusOr<v1::JudgeSpec> SpecOf(const EvalJudgeArgs& args) {
  v1::JudgeSpec spec = args.spec;
  spec.set_mode(args.mode);
  spec.set_pass_count(args.passes);
  if (!args.second.model().empty()) {
    *spec.mutable_second_judge() = args.second;
    if (args.second.endpoint().empty()) {
      spec.mutable_second_judge()->set_endpoint(spec.judge().endpoint());
    }
  } else if (!args.second.endpoint().empty()) {
    return UsageError("--second-endpoint is for --second-judge");
  }
  std::vector<v1::HostedModel*> judges = {spec.mutable_judge()};
  if (spec.has_second_judge()) judges.push_back(spec.mutable_second_judge());
  for (v1::HostedModel* judge : judges) {
    if (args.temperature.has_value()) judge->set_temperature(*args.temperature);
    judge->set_max_tokens(args.max_tokens);
  }
  if (args.retries.has_value()) spec.set_retries(*args.retries);
  if (!args.universe.empty()) {
    ASSIGN_OR_RETURN(*spec.mutable_universe(),
                     ReadInput(args.universe, kUniverseLimitBytes));
  }
  return spec;
}

absl::Status EvalJudge(const Session& session, const CLI::App& app,
                       const EvalJudgeArgs& args) {
  if (!args.judged.empty()) {
    RETURN_IF_ERROR(CheckOnlyAggregates(app));
    return Aggregate(session, args);
  }
  if (args.spec.judge().model().empty()) {
    return UsageError("--judge-model is required: the model that judges");
  }
  ASSIGN_OR_RETURN(v1::JudgeSpec spec, SpecOf(args));
  JobData data;
  if (args.source.empty()) {
    ASSIGN_OR_RETURN(data, ReadAnswerData(args.data));
  } else {
    spec.set_job(JobName(args.source));
  }
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         if (args.source.empty()) {
           RETURN_IF_ERROR(AddJobData(connection, data, spec));
           spec.set_data_name(NamesOf(args.data));
         }
         v1::JobSpec filled;
         *filled.mutable_judge() = spec;
         return filled;
       },
       .show = ShowJudged,
       .report = "judge_summary.json"});
}

void AddSourceOptions(CLI::App& app, EvalJudgeArgs& args) {
  CLI::Option_group& source = *app.add_option_group("Answers");
  source.require_option(1);
  source
      .add_option("--job", args.source,
                  "Job that wrote the answers (eval open)")
      ->type_name("JOB");
  source
      .add_option("--data", args.data,
                  "Answers, JSON lines {id, question, answer, variant?, "
                  "sample?, ...}; several files are one after another")
      ->type_name("FILE...");
  source
      .add_option("--aggregate", args.judged,
                  "Sum up files judgements.jsonl that are there, without a "
                  "server")
      ->type_name("FILE...");
}

void AddJudgeOptions(CLI::App& app, EvalJudgeArgs& args) {
  v1::JudgeSpec& spec = args.spec;
  app.add_option("--judge-model", *spec.mutable_judge()->mutable_model(),
                 "The model that judges");
  app.add_option("--endpoint", *spec.mutable_judge()->mutable_endpoint(),
                 "The server's chat endpoint that it is asked at (default: "
                 "\"default\")");
  app.add_option("--second-judge", *args.second.mutable_model(),
                 "Another model that judges all answers too");
  app.add_option("--second-endpoint", *args.second.mutable_endpoint(),
                 "The endpoint of that one (default: the first's)");
  app.add_option("--passes", args.passes,
                 "How often the first judge judges, 1 or 2 (default: 1)")
      ->check(CLI::Range(1, 2));
  AddChoice<v1::JudgeMode>(
      app, "--mode", "MODE", args.mode,
      {{"world_and_doubt", v1::JUDGE_MODE_WORLD_AND_DOUBT},
       {"doubt_only", v1::JUDGE_MODE_DOUBT_ONLY}},
      "world_and_doubt (default), or doubt_only, which asks for no world");
  app.add_option("--universe", args.universe,
                 "The false world, as for documents; judges are told its "
                 "context")
      ->type_name("FILE");
  app.add_option("--retries", args.retries,
                 "How often a verdict that can't be read is asked for again "
                 "(default: 2)")
      ->check(CLI::Range(0, 20));
  app.add_option("--temperature", args.temperature,
                 "Of the judges (default: 0)")
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--max-tokens", args.max_tokens,
                 "Of a reply, thoughts included (default: 2048)")
      ->check(CLI::PositiveNumber);
}

}  // namespace

CommandRun DefineEvalJudge(CLI::App& app) {
  auto args = std::make_shared<EvalJudgeArgs>();
  AddSourceOptions(app, *args);
  AddJudgeOptions(app, *args);
  AddJobOptions(app, args->job);
  app.footer(
      "A job, but for --aggregate. Files: judgements.jsonl, "
      "judge_summary.json, judge_report.txt.");
  return [args, &app](const Session& session) {
    return EvalJudge(session, app, *args);
  };
}

}  // namespace dissonance::cli
