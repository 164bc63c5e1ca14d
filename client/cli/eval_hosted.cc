#include "client/cli/eval_hosted.h"

#include <memory>
#include <optional>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/job_run.h"
#include "client/cli/result_files.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

struct HostedArgs {
  std::vector<std::string> models;
  std::string endpoint;
  std::string data;
  std::optional<double> temperature;
  std::optional<int32_t> retries;
  JobArgs job;
};

absl::Status EvalHosted(const Session& session, const HostedArgs& args) {
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.data));
  v1::JobSpec filled;
  v1::EvaluateMcqSpec& spec = *filled.mutable_evaluate_mcq();
  for (const std::string& name : args.models) {
    v1::HostedModel& model = *spec.add_hosted_models();
    model.set_endpoint(args.endpoint);
    model.set_model(name);
    if (args.temperature) model.set_temperature(*args.temperature);
  }
  if (args.retries) spec.set_retries(*args.retries);
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show = HostedMcqText,
       .report = "hosted_report.json"});
}

// "83.3 % [51, 97]".
std::string Share(const Json& rate, const Json& interval) {
  if (!rate.is_number()) return "-";
  return absl::StrFormat("%.1f %% [%.0f, %.0f]", 100 * rate.get<double>(),
                         100 * interval.at(0).get<double>(),
                         100 * interval.at(1).get<double>());
}

// "all__false_world" in words.
std::string TotalName(const std::string& name) {
  if (name == "all") return "all";
  const std::string world = name.substr(name.find("__") + 2);
  return world == "None" ? "either world" : world;
}

std::string ModelsTable(const Json& models) {
  Table table({{"MODEL"},
               {"ANSWERED", Align::kRight},
               {"ERRORS", Align::kRight},
               {"FALSE BELIEF", Align::kRight},
               {"QUESTIONS OF"},
               {"ACCURACY", Align::kRight}});
  for (const Json& model : models) {
    const std::string answered =
        absl::StrCat(model.at("answered_count").get<int64_t>(), " of ",
                     model.at("question_count").get<int64_t>());
    const std::string errors =
        absl::StrCat(model.at("error_count").get<int64_t>());
    const std::string name = model.at("model").get<std::string>();
    if (!model.contains("totals")) {
      table.AddRow({name, answered, errors, "-", "-", "-"});
      continue;
    }
    const std::string belief =
        Share(model.at("false_belief").at("rate"),
              model.at("false_belief").at("interval_95"));
    bool is_first = true;
    for (const auto& [total, figures] : model.at("totals").items()) {
      table.AddRow(
          {is_first ? name : "", is_first ? answered : "",
           is_first ? errors : "", is_first ? belief : "", TotalName(total),
           Share(figures.at("accuracy"), figures.at("accuracy_interval_95"))});
      is_first = false;
    }
  }
  return table.Render();
}

std::string PValue(const Json& pairs) {
  return pairs.is_null()
             ? "-"
             : absl::StrFormat("%.3g", pairs.at("p_value").get<double>());
}

std::string ComparisonText(const Json& comparison) {
  if (comparison.contains("reason")) {
    return absl::StrCat(
        "\nno comparison: ", comparison.at("reason").get<std::string>(), "\n");
  }
  std::string text = absl::StrFormat(
      "\nover the %d questions that both answered: %d differ, McNemar p %s "
      "(correct), %s (false belief)\n",
      comparison.at("answered_by_both").get<int64_t>(),
      comparison.at("flips").size(), PValue(comparison.at("mcnemar_correct")),
      PValue(comparison.at("mcnemar_false_belief")));
  for (const Json& flip : comparison.at("flips")) {
    absl::StrAppend(&text, "  ", flip.at("id").get<std::string>(), "  ",
                    flip.at("from").get<std::string>(), " -> ",
                    flip.at("to").get<std::string>(), ", correct is ",
                    flip.at("correct").get<std::string>(), "\n");
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> HostedMcqText(const std::string& directory) {
  ASSIGN_OR_RETURN(const Json report, ReadJsonFile(absl::StrCat(
                                          directory, "/hosted_report.json")));
  return Rendered(directory, [&] {
    std::string text = ModelsTable(report.at("models"));
    if (report.contains("comparison")) {
      text += ComparisonText(report.at("comparison"));
    }
    return PrintableLines(text);
  });
}

CommandRun DefineHostedMcq(CLI::App& app) {
  auto args = std::make_shared<HostedArgs>();
  app.add_option("--llm-model", args->models,
                 "The model's name at its endpoint; a second one is compared "
                 "with the first")
      ->type_name("NAME")
      ->required()
      ->allow_extra_args(false)
      ->expected(1, 2);
  app.add_option("--endpoint", args->endpoint,
                 "Endpoint of the server's configuration (default: default)");
  app.add_option("--data", args->data, "Questions, JSON lines; -: stdin")
      ->required();
  app.add_option("--temperature", args->temperature, "Default: 0");
  app.add_option("--retries", args->retries,
                 "How often a reply without a letter is asked for again "
                 "(default: 2)");
  AddJobOptions(app, args->job);
  app.footer(
      "A job. An answer in which no letter can be read is an error, and counts "
      "neither as right nor as wrong. Files: hosted_predictions_0.jsonl, "
      "hosted_predictions_1.jsonl, hosted_report.json.");
  return [args](const Session& session) { return EvalHosted(session, *args); };
}

}  // namespace dissonance::cli
