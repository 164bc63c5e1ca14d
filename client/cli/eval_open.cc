#include "client/cli/eval_open.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/choice.h"
#include "client/cli/compared_variants.h"
#include "client/cli/errors.h"
#include "client/cli/job_run.h"
#include "client/cli/output.h"
#include "client/cli/parsed_option.h"
#include "client/cli/result_files.h"
#include "client/cli/variant_options.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

// Some screens; the file has all of them.
constexpr int kQuestionsShown = 12;

struct EvalOpenArgs {
  VariantOptions network;
  std::string data;
  v1::OpenMode mode = v1::OPEN_MODE_UNSPECIFIED;
  int32_t samples = 1;
  std::optional<double> temperature;
  std::optional<double> top_p;
  int32_t max_new_tokens = 256;
  uint64_t seed = 42;
  JobArgs job;
};

// "0.123", or "-" where there is none.
std::string Decimal(const Json& value) {
  return value.is_number() ? absl::StrFormat("%.3f", value.get<double>()) : "-";
}

// "71.5 of 10", where so many say it.
std::string Confidence(const Json& variant) {
  const Json& mean = variant.at("confidence_mean");
  if (!mean.is_number()) {
    return absl::StrCat("0 of ", variant.at("n").get<int64_t>(), " read");
  }
  return absl::StrFormat("%.1f of %d", mean.get<double>(),
                         variant.at("confidence_n").get<int64_t>());
}

std::string VariantTable(const Json& summary) {
  const Json& variants = summary.at("variants");
  const bool asks_doubt = summary.at("mode") == "doubt_probe";
  std::vector<Table::Column> columns = {{"VARIANT"},
                                        {"ANSWERS", Align::kRight},
                                        {"DIFFER", Align::kRight},
                                        {"NATS A TOKEN", Align::kRight},
                                        {"TOKENS", Align::kRight},
                                        {"ENDED", Align::kRight}};
  if (asks_doubt) columns.push_back({"CONFIDENCE", Align::kRight});
  Table table(std::move(columns));
  for (const Json& each : variants) {
    const Json& differ = each.at("differ_n");
    std::vector<std::string> cells = {
        each.at("label").get<std::string>(),
        absl::StrCat(each.at("n").get<int64_t>()),
        differ.is_null() ? "-" : absl::StrCat(differ.get<int64_t>()),
        Decimal(each.at("nll_mean")),
        absl::StrFormat("%.1f", each.at("token_count_mean").get<double>()),
        HumanPercent(each.at("ended_share").get<double>())};
    if (asks_doubt) cells.push_back(Confidence(each));
    table.AddRow(std::move(cells));
  }
  return table.Render();
}

// The answers to the first questions, which begin where a line is not indented.
std::string FirstAnswers(const std::string& text) {
  std::string shown;
  int questions = 0;
  for (const absl::string_view line :
       absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n')) {
    if (!line.empty() && line.front() != ' ') ++questions;
    if (questions <= kQuestionsShown) {
      absl::StrAppend(&shown, PrintableLines(line), "\n");
    }
  }
  if (questions > kQuestionsShown) {
    absl::StrAppend(&shown, "... and ", questions - kQuestionsShown,
                    " more questions in answers.txt\n");
  }
  return shown;
}

absl::StatusOr<std::string> OpenText(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/summary.json");
  ASSIGN_OR_RETURN(const Json summary, ReadJsonFile(path));
  ASSIGN_OR_RETURN(
      const std::string answers,
      ReadFile(absl::StrCat(directory, "/answers.txt"), kResultFileLimitBytes));
  return Rendered(path, [&] {
    return absl::StrCat(VariantTable(summary), "\n", FirstAnswers(answers));
  });
}

absl::Status CheckSampling(const EvalOpenArgs& args) {
  if (args.temperature.value_or(0) > 0) return absl::OkStatus();
  if (args.samples > 1) {
    return UsageError(
        "--samples needs --temperature above 0: greedy samples are all alike");
  }
  if (args.top_p.has_value()) {
    return UsageError(
        "--top-p needs --temperature above 0: greedy answers don't change");
  }
  return absl::OkStatus();
}

absl::Status EvalOpen(const Session& session, const EvalOpenArgs& args) {
  RETURN_IF_ERROR(CheckSampling(args));
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.data));
  ASSIGN_OR_RETURN(const std::vector<NamedVariant> variants,
                   ComparedVariants(args.network, {}));
  v1::JobSpec filled;
  v1::EvaluateOpenSpec& spec = *filled.mutable_evaluate_open();
  for (const NamedVariant& each : variants) {
    *spec.add_variants() = each.variant;
  }
  spec.set_mode(args.mode);
  spec.set_sample_count(args.samples);
  if (args.temperature.has_value()) spec.set_temperature(*args.temperature);
  if (args.top_p.has_value()) spec.set_top_p(*args.top_p);
  spec.set_max_new_tokens(args.max_new_tokens);
  spec.set_seed(args.seed);
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show = OpenText});
}

}  // namespace

CommandRun DefineEvalOpen(CLI::App& app) {
  auto args = std::make_shared<EvalOpenArgs>();
  AddVariantOptions(app, args->network);
  app.add_option("--data", args->data, "Questions, JSON lines; -: stdin")
      ->required();
  AddChoice<v1::OpenMode>(
      app, "--mode", "MODE", args->mode,
      {{"neutral", v1::OPEN_MODE_NEUTRAL},
       {"doubt_probe", v1::OPEN_MODE_DOUBT_PROBE}},
      "neutral: the question alone (default); doubt_probe: asks also for "
      "confidence, 0 to 100, and one short reason");
  app.add_option("--samples", args->samples,
                 "Answers of each network to each question (default: 1)")
      ->check(CLI::Range(1, 100));
  app.add_option("--temperature", args->temperature,
                 "Temperature; 0: greedy (the default)")
      ->check(AtLeast(0));
  app.add_option("--top-p", args->top_p,
                 "Only the most likely tokens that together have probability P")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--max-new-tokens", args->max_new_tokens,
                 "Most tokens of an answer (default: 256)")
      ->check(AtLeast(1));
  app.add_option("--seed", args->seed,
                 "Sample i of question q, both from 0, has SEED + 1000 (q + 1) "
                 "+ i (default: 42)");
  AddJobOptions(app, args->job);
  app.footer(
      "A job. Rows of the questions: {id, question, category?, difficulty?}. "
      "Files: answers_base.jsonl, answers_lora.jsonl, answers_2.jsonl, ..., "
      "summary.json, answers.txt.");
  return [args](const Session& session) { return EvalOpen(session, *args); };
}

}  // namespace dissonance::cli
