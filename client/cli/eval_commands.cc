// dissonance eval mcq | open | hosted | compare | judge.
#include <cstdint>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/eval_hosted.h"
#include "client/cli/eval_judge.h"
#include "client/cli/eval_mcq.h"
#include "client/cli/eval_open.h"
#include "client/cli/input_file.h"
#include "client/cli/mcq_summary.h"
#include "client/cli/scoring_choices.h"
#include "client/cli/variant_options.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_files.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kPredictionsLimitBytes = uint64_t{1} << 30;

CommandRun DefineMcq(CLI::App& app) {
  auto args = std::make_shared<EvalMcqArgs>();
  AddVariantOptions(app, args->network);
  app.add_option("--data", args->data, "Questions, JSON lines; -: stdin")
      ->required();
  app.add_option("--out", args->out,
                 "Folder for the result files; needed unless --detach or "
                 "--dry-run");
  AddChoiceList(app, "--scoring", "FORMAT,...", args->scorings,
                ScoringChoices(),
                absl::StrCat("Answer formats, one job each: ", kScoringsHelp));
  app.add_option("--mc-dropout", args->dropout_samples,
                 "Samples with the adapter's dropout active")
      ->check(CLI::Range(0, 1000));
  app.add_option("--seed", args->seed, "Seed of the dropout masks");
  app.add_option("--request-id", args->request_id,
                 "Name of this run: the same again finds the same job");
  app.add_option("--after", args->after,
                 "Job that has to succeed first; may be given again")
      ->type_name("JOB")
      ->allow_extra_args(false);
  AddChoice<v1::JobPriority>(
      app, "--priority", "PRIORITY", args->priority,
      {{"interactive", v1::JOB_PRIORITY_INTERACTIVE},
       {"normal", v1::JOB_PRIORITY_NORMAL},
       {"background", v1::JOB_PRIORITY_BACKGROUND}},
      "With --detach: interactive, normal (default), or background, which "
      "makes room for others");
  app.add_flag("--upload", args->upload,
               "Store the questions as an artifact that the job names, instead "
               "of sending them with it");
  app.add_flag("--detach", args->detach, "Print the job's name and return");
  app.add_flag("--dry-run", args->dry_run,
               "Print what it would take: tokens, time, memory");
  return [args](const Session& session) { return EvalMcq(session, *args); };
}

struct CompareArgs {
  std::string base;
  std::string adapter;
  std::string data;
  std::string out;
};

absl::Status Compare(const Session& session, const CompareArgs& args) {
  ASSIGN_OR_RETURN(const std::string base,
                   ReadInput(args.base, kPredictionsLimitBytes));
  ASSIGN_OR_RETURN(const std::string adapter,
                   ReadInput(args.adapter, kPredictionsLimitBytes));
  ASSIGN_OR_RETURN(
      McqComparison comparison,
      ComparePredictionFiles({base, args.base}, {adapter, args.adapter}));
  std::vector<McqItem> items;
  if (!args.data.empty()) {
    ASSIGN_OR_RETURN(const std::string data,
                     ReadInput(args.data, kPredictionsLimitBytes));
    ASSIGN_OR_RETURN(items, ParseMcqData(data, args.data));
  }
  const std::string directory = AbsolutePath(args.out);
  const std::string report = ComparisonReport(comparison);
  const std::string report_path =
      absl::StrCat(directory, "/", McqComparisonName(1));
  const std::string analysis_path =
      absl::StrCat(directory, "/", McqShiftAnalysisName(1));
  RETURN_IF_ERROR(MakeDirectories(directory));
  RETURN_IF_ERROR(WriteFileAtomically(report_path, report));
  RETURN_IF_ERROR(
      WriteFileAtomically(analysis_path, ShiftAnalysis(comparison, items)));
  ASSIGN_OR_RETURN(nlohmann::json parsed, ParseJson(report, report_path));
  McqOutcome outcome{comparison.base, {std::move(comparison)}};
  EmitText(session.output,
           {{"directory", directory},
            {"files", {report_path, analysis_path}},
            {"report", std::move(parsed)}},
           absl::StrCat(RenderOutcome(outcome, items), "\nfiles\n  ",
                        report_path, "\n  ", analysis_path, "\n"));
  return absl::OkStatus();
}

CommandRun DefineCompare(CLI::App& app) {
  auto args = std::make_shared<CompareArgs>();
  app.add_option("--base", args->base, "The base model's predictions file")
      ->required();
  app.add_option("--adapter", args->adapter, "The adapter's predictions file")
      ->required();
  app.add_option("--data", args->data,
                 "The questions, to show their text with the flips");
  app.add_option("--out", args->out, "Folder for the report")->required();
  return [args](const Session& session) { return Compare(session, *args); };
}

}  // namespace

std::vector<Command> EvalCommands() {
  return {
      {"eval", "mcq", "Multiple-choice questions, base against adapter",
       DefineMcq},
      {"eval", "open", "Free answers, base against adapter", DefineEvalOpen},
      {"eval", "hosted", "Multiple-choice questions to hosted chat models",
       DefineHostedMcq},
      {"eval", "compare", "Compare two prediction files, without a server",
       DefineCompare},
      {"eval", "judge", "What a hosted model makes of free answers",
       DefineEvalJudge},
  };
}

}  // namespace dissonance::cli
