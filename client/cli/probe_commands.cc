// dissonance probe train | show | apply | dataset.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/compared_variants.h"
#include "client/cli/connection.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/job_run.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/probe_dataset.h"
#include "client/cli/probe_view.h"
#include "client/cli/prompt_options.h"
#include "client/cli/scoring_choices.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct TrainArgs {
  VariantOptions variant;
  std::vector<std::string> compared;
  std::string data;
  v1::TrainProbesSpec spec;
  JobArgs job;
};

absl::StatusOr<v1::LabelRule> ParseTarget(absl::string_view word) {
  v1::LabelRule rule;
  for (const auto& [name, source] : Choices<v1::LabelSource>{
           {"category_conflict", v1::LABEL_SOURCE_CATEGORY_CONFLICT},
           {"conflict_vs_hard", v1::LABEL_SOURCE_CONFLICT_VS_HARD},
           {"world_label_true", v1::LABEL_SOURCE_WORLD_LABEL_TRUE},
           {"difficulty_hard", v1::LABEL_SOURCE_DIFFICULTY_HARD},
           {"answered_false", v1::LABEL_SOURCE_ANSWERED_FALSE}}) {
    if (word == name) rule.set_source(source);
  }
  absl::string_view field = word;
  if (absl::ConsumePrefix(&field, "label:") && !field.empty()) {
    rule.set_source(v1::LABEL_SOURCE_FIELD);
    rule.set_field(std::string(field));
  }
  if (rule.source() != v1::LABEL_SOURCE_UNSPECIFIED) return rule;
  return absl::InvalidArgumentError(absl::StrCat(
      "'", word,
      "' is none of category_conflict, conflict_vs_hard, world_label_true, "
      "difficulty_hard, answered_false and label:FIELD"));
}

absl::Status Train(const Session& session, const TrainArgs& args) {
  v1::JobSpec filled;
  v1::TrainProbesSpec& spec = *filled.mutable_train_probes();
  spec = args.spec;
  JobData data;
  if (!spec.activations_job().empty()) {
    if (!args.data.empty() || !args.variant.model.empty()) {
      return UsageError(
          "--activations brings its own model, adapters and prompts: leave out "
          "--model and --data");
    }
  } else {
    if (args.data.empty() || args.variant.model.empty()) {
      return UsageError(
          "--model and --data are required, or --activations in their place");
    }
    ASSIGN_OR_RETURN(data, ReadJobData(args.data));
    ASSIGN_OR_RETURN(const std::vector<NamedVariant> variants,
                     ComparedVariants(args.variant, args.compared));
    for (const NamedVariant& each : variants) {
      *spec.add_variants() = each.variant;
    }
  }
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         if (spec.activations_job().empty()) {
           RETURN_IF_ERROR(AddJobData(connection, data, spec));
         }
         return filled;
       },
       .show = ProbesText});
}

void AddPlaceOptions(CLI::App& app, v1::TrainProbesSpec& spec) {
  app.add_option_function<std::string>(
         "--sites",
         [&spec](const std::string& word) {
           for (const v1::Site site :
                ParsedValue("--sites", ParseSites(word))) {
             spec.add_sites(site);
           }
         },
         "Sites (default: resid_post)")
      ->type_name("SITES");
  app.add_option_function<std::string>(
         "--blocks",
         [&spec](const std::string& word) {
           for (const int32_t block :
                ParsedValue("--blocks", ParseBlocks(word))) {
             spec.add_blocks(block);
           }
         },
         absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"))
      ->type_name("BLOCKS");
  app.add_option_function<std::string>(
         "--positions",
         [&spec](const std::string& word) {
           *spec.mutable_positions() =
               ParsedValue("--positions", ParsePositions(word));
         },
         "Positions of the prompt; several are averaged (default: last_prompt)")
      ->type_name("POSITIONS");
}

void AddFitOptions(CLI::App& app, v1::TrainProbesSpec& spec) {
  v1::ProbeOptions& options = *spec.mutable_options();
  app.add_option_function<std::string>(
         "--method",
         [&options](const std::string& word) {
           options.set_method(ChosenValue<v1::ProbeMethod>(
               "--method", word,
               {{"logistic", v1::PROBE_METHOD_LOGISTIC},
                {"ridge", v1::PROBE_METHOD_RIDGE},
                {"mass_mean", v1::PROBE_METHOD_MASS_MEAN},
                {"lda", v1::PROBE_METHOD_LDA}}));
         },
         "logistic (default), ridge, mass_mean or lda")
      ->type_name("METHOD");
  app.add_option_function<std::vector<double>>(
         "--c",
         [&options](const std::vector<double>& values) {
           options.mutable_c_values()->Assign(values.begin(), values.end());
         },
         "Inverse strengths of the penalty (default: 0.1)")
      ->delimiter(',');
  app.add_option_function<int>(
         "--folds", [&options](int count) { options.set_fold_count(count); },
         "Folds of the cross-validation (default: 5)")
      ->check(CLI::Range(2, 100));
  app.add_option_function<uint64_t>(
      "--seed", [&options](uint64_t seed) { options.set_seed(seed); },
      "Of folds, shuffled labels and resamples (default: 42)");
  app.add_option_function<int>(
         "--permutations",
         [&options](int count) { options.set_permutation_count(count); },
         "Fits with shuffled labels (default: 20)")
      ->check(AtLeast(0));
  app.add_flag_callback(
      "--transfer", [&options] { options.set_transfer(true); },
      "Test each network's probes on the others' rows");
  app.add_option_function<int>(
         "--components",
         [&spec](int count) { spec.set_component_count(count); },
         "Principal components of the maps (default: 2)")
      ->check(CLI::Range(2, 5));
}

CommandRun DefineTrain(CLI::App& app) {
  auto args = std::make_shared<TrainArgs>();
  AddVariantOptions(app, args->variant);
  app.get_option("--model")->required(false);
  AddComparedOption(app, args->compared);
  app.add_option("--data", args->data,
                 "Prompts or multiple-choice questions, JSON lines; -: stdin");
  app.add_option_function<std::string>(
         "--activations",
         [args](const std::string& word) {
           args->spec.set_activations_job(JobName(word));
         },
         "Job of `activations extract` whose rows are taken, in place of "
         "--model and --data")
      ->type_name("JOB");
  app.add_option_function<std::vector<std::string>>(
         "--target",
         [args](const std::vector<std::string>& words) {
           for (const std::string& word : words) {
             *args->spec.add_targets() =
                 ParsedValue("--target", ParseTarget(word));
           }
         },
         "What is told apart: category_conflict, conflict_vs_hard, "
         "world_label_true, difficulty_hard, answered_false (what each network "
         "itself says), label:FIELD")
      ->delimiter(',')
      ->type_name("TARGET,...")
      ->required();
  AddPlaceOptions(app, args->spec);
  AddFitOptions(app, args->spec);
  app.add_option_function<std::string>(
         "--scoring",
         [args](const std::string& word) {
           args->spec.set_scoring(
               ChosenValue("--scoring", word, ScoringChoices()));
         },
         absl::StrCat("How questions are asked: ", kScoringsHelp))
      ->type_name("FORMAT");
  AddJobOptions(app, args->job);
  app.footer(
      "A job. Base and adapter side by side. Files: probes.json, probes.jsonl, "
      "probes.safetensors, folds.json, decisions.jsonl, auc.csv, pca.csv, and "
      "charts for Vega-Lite.");
  return [args](const Session& session) { return Train(session, *args); };
}

absl::Status Show(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::GetJobRequest request;
  request.set_name(JobName(name));
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   connection->Call(&v1::Jobs::Stub::GetJob, request));
  for (const v1::JobOutput& output : response.job().outputs()) {
    if (output.file_name() != "probes.jsonl") continue;
    ASSIGN_OR_RETURN(const std::string text,
                     DownloadArtifact(*connection, output.artifact()));
    ASSIGN_OR_RETURN(const std::vector<nlohmann::json> rows,
                     ProbeRows(text, output.file_name()));
    if (session.output == OutputFormat::kTable) {
      EmitText(session.output, nullptr, ProbeTables(rows));
    } else {
      Emit(session.output, rows, Table({{""}}));
    }
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      response.job().name(),
      response.job().spec().has_train_probes()
          ? " has not succeeded yet; follow it with `dissonance jobs watch`"
          : " is no job of `probe train`"));
}

CommandRun DefineShow(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("JOB", *name, "Job of `probe train`")->required();
  return [name](const Session& session) { return Show(session, *name); };
}

struct ApplyArgs {
  VariantOptions variant;
  std::vector<std::string> compared;
  PromptOptions prompts;
  std::vector<std::string> directions;
  std::string place;
  std::optional<v1::Positions> positions;
};

// A meter along a direction by name.
absl::StatusOr<v1::Meter> MeterOf(const std::string& direction,
                                  const std::string& place) {
  v1::Meter meter;
  meter.set_name(direction);
  meter.mutable_vector()->set_direction(DirectionName(direction));
  if (place.empty()) return meter;
  ASSIGN_OR_RETURN(const Place parsed, ParsePlace(place));
  if (parsed.blocks.size() > 1 || parsed.head.has_value()) {
    return UsageError("--place: name one block, and no head");
  }
  meter.mutable_place()->set_site(parsed.site);
  if (!parsed.blocks.empty()) {
    meter.mutable_place()->set_block(parsed.blocks[0]);
  }
  return meter;
}

void ShowReadings(const Session& session, const ApplyArgs& args,
                  const std::vector<NamedVariant>& variants,
                  const std::vector<InputRow>& rows,
                  const v1::ApplyProbeResponse& response) {
  std::vector<Table::Column> columns = {
      {"ID"}, {"NETWORK"}, {"POSITION", Align::kRight}};
  for (const std::string& name : args.directions) {
    columns.push_back({name, Align::kRight});
  }
  Table table(std::move(columns));
  std::vector<nlohmann::json> records;
  for (const v1::ProbeReading& reading : response.readings()) {
    const InputRow& row =
        rows[static_cast<size_t>(reading.row().input_index())];
    const std::string& variant =
        variants[static_cast<size_t>(reading.variant_index())].name;
    std::vector<std::string> cells = {TextOfId(row.id), variant,
                                      absl::StrCat(reading.row().position())};
    nlohmann::json projections = nlohmann::json::object();
    for (int i = 0; i < reading.projections_size(); ++i) {
      cells.push_back(absl::StrFormat("%+.4f", reading.projections(i)));
      projections[args.directions[static_cast<size_t>(i)]] =
          reading.projections(i);
    }
    table.AddRow(std::move(cells));
    records.push_back({{"id", row.id},
                       {"variant", variant},
                       {"position", reading.row().position()},
                       {"token_id", reading.row().token_id()},
                       {"projections", std::move(projections)}});
  }
  Emit(session.output, records, table);
}

absl::Status Apply(const Session& session, const ApplyArgs& args) {
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ReadPrompts(args.prompts));
  ASSIGN_OR_RETURN(const std::vector<NamedVariant> variants,
                   ComparedVariants(args.variant, args.compared));
  v1::ApplyProbeRequest request;
  for (const NamedVariant& each : variants) {
    *request.add_variants() = each.variant;
  }
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  for (const std::string& direction : args.directions) {
    ASSIGN_OR_RETURN(*request.add_meters(), MeterOf(direction, args.place));
  }
  if (args.positions.has_value()) {
    *request.mutable_positions() = *args.positions;
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::ApplyProbeResponse response,
                   connection->CallAgain(&v1::Probes::Stub::ApplyProbe, request,
                                         absl::InfiniteDuration()));
  ShowReadings(session, args, variants, rows, response);
  return absl::OkStatus();
}

CommandRun DefineApply(CLI::App& app) {
  auto args = std::make_shared<ApplyArgs>();
  AddVariantOptions(app, args->variant);
  AddComparedOption(app, args->compared);
  AddPromptOptions(app, args->prompts);
  app.add_option("--direction", args->directions,
                 "Direction of the server's, by its name; may be given again")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->required();
  app.add_option("--place", args->place,
                 "Where it is measured, e.g. resid_post.3 (default: the "
                 "direction's only place)")
      ->type_name("PLACE");
  AddParsed(app, "--positions", "POSITIONS", args->positions, ParsePositions,
            "Positions of the prompt (default: last_prompt)");
  return [args](const Session& session) { return Apply(session, *args); };
}

}  // namespace

std::vector<Command> ProbeCommands() {
  return {
      {"probe", "train", "Train linear probes on activations", DefineTrain},
      {"probe", "show", "AUC by place of a job's probes", DefineShow},
      {"probe", "apply", "How far prompts go along directions", DefineApply},
      {"probe", "dataset", "Make probing prompts from questions",
       DefineProbeDataset}};
}

}  // namespace dissonance::cli
