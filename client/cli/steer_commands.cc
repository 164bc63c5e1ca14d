// dissonance steer sweep.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/heat.h"
#include "client/cli/interventions.h"
#include "client/cli/job_run.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/scoring_choices.h"
#include "client/cli/sweep_view.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kDirectionPrefix[] = "directions/";

struct SteerArgs {
  VariantOptions variant;
  std::string data;
  std::vector<std::string> directions;
  v1::SteeringSweepSpec spec;
  JobArgs job;
};

// "-15,-5,10".
absl::StatusOr<std::vector<double>> ParseCoefficients(absl::string_view text) {
  std::vector<double> numbers;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number) || !std::isfinite(number)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", word, "' is not a number; write e.g. -15,-5,10"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

// The rows of vectors for one head each, put together again.
v1::Tensor Stacked(const std::vector<v1::Intervention>& heads) {
  v1::Tensor out = heads.front().add().vector().tensor();
  const int64_t width = out.shape(0);
  out.clear_shape();
  out.clear_data();
  out.add_shape(std::ssize(heads));
  out.add_shape(width);
  for (const v1::Intervention& head : heads) {
    out.mutable_data()->append(head.add().vector().tensor().data());
  }
  return out;
}

// A file, FILE:TENSOR, or the name of a direction on the server.
absl::StatusOr<v1::SweepDirection> ReadDirection(const std::string& text,
                                                 v1::Site site) {
  v1::SweepDirection direction;
  if (!absl::StrContains(text, ".safetensors")) {
    direction.mutable_vector()->set_direction(
        absl::StartsWith(text, kDirectionPrefix)
            ? text
            : absl::StrCat(kDirectionPrefix, text));
    direction.set_label(direction.vector().direction().substr(
        std::string(kDirectionPrefix).size()));
    return direction;
  }
  InterventionSpec spec;
  spec.text = text;
  spec.vector = text;
  spec.message.set_site(site);
  spec.message.mutable_add();
  ASSIGN_OR_RETURN(const std::vector<v1::Intervention> read,
                   ReadIntervention(spec, /*unit_normalize=*/false));
  *direction.mutable_vector() = read.front().add().vector();
  if (read.size() > 1) {
    *direction.mutable_vector()->mutable_tensor() = Stacked(read);
  }
  direction.set_label(std::filesystem::path(text).stem().string());
  return direction;
}

absl::Status SteerSweep(const Session& session, const SteerArgs& args) {
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.data));
  ASSIGN_OR_RETURN(const NamedVariant variant, MakeVariant(args.variant));
  v1::JobSpec filled;
  v1::SteeringSweepSpec& spec = *filled.mutable_steering_sweep();
  spec = args.spec;
  *spec.mutable_variant() = variant.variant;
  const v1::Site site =
      spec.site() == v1::SITE_UNSPECIFIED ? v1::SITE_RESID_POST : spec.site();
  for (const std::string& text : args.directions) {
    ASSIGN_OR_RETURN(*spec.add_directions(), ReadDirection(text, site));
  }
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show =
           [](const std::string& directory) {
             return SteeringText(directory, Heat(UsesColour()));
           }});
}

void AddGridOptions(CLI::App& app, SteerArgs& args) {
  app.add_option("--direction", args.directions,
                 "Direction of the server's by its name, FILE.safetensors or "
                 "FILE.safetensors:TENSOR; may be given again")
      ->type_name("DIRECTION")
      ->allow_extra_args(false)
      ->required();
  app.add_option_function<std::string>(
         "--site",
         [&args](const std::string& word) {
           args.spec.set_site(ParsedValue("--site", ParseSite(word)));
         },
         "Site that is steered (default: resid_post)")
      ->type_name("SITE");
  app.add_option_function<std::string>(
         "--blocks",
         [&args](const std::string& word) {
           for (const int32_t block :
                ParsedValue("--blocks", ParseBlocks(word))) {
             args.spec.add_blocks(block);
           }
         },
         absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"))
      ->type_name("BLOCKS");
  app.add_option_function<std::string>(
         "--coefficients",
         [&args](const std::string& word) {
           for (const double each :
                ParsedValue("--coefficients", ParseCoefficients(word))) {
             args.spec.add_coefficients(each);
           }
         },
         "How far, e.g. --coefficients=-15,-5,10 (default: -5,-15,10; with "
         "--relative -0.5,0.25,0.5,1)")
      ->type_name("NUMBER,...");
  app.add_flag_callback(
      "--relative", [&args] { args.spec.set_relative_coefficients(true); },
      "Coefficients are multiples of the mean length of the rows there");
  app.add_option_function<std::vector<std::string>>(
         "--positions",
         [&args](const std::vector<std::string>& words) {
           for (const std::string& word : words) {
             const v1::Positions positions =
                 ParsedValue("--positions", ParsePositions(word));
             if (!positions.has_set()) {
               throw CLI::ValidationError(
                   "--positions",
                   "expected all, prompt, last_prompt or "
                   "generated; each is tried");
             }
             args.spec.add_positions(positions.set());
           }
         },
         "Where: all (default), prompt, last_prompt, generated")
      ->delimiter(',')
      ->type_name("SET,...");
}

void AddSearchOptions(CLI::App& app, SteerArgs& args) {
  const auto add_count = [&app](const char* name, auto set, const char* help) {
    app.add_option_function<int>(name, set, help)->check(AtLeast(0));
  };
  add_count(
      "--null", [&args](int n) { args.spec.set_null_count(n); },
      "Random directions at the best setting (default: 20)");
  add_count(
      "--refine", [&args](int n) { args.spec.set_refine_count(n); },
      "Rounds of coefficients between the best ones (default: 2)");
  add_count(
      "--samples", [&args](int n) { args.spec.set_sample_count(n); },
      "Questions to continue with and without (default: 4)");
  add_count(
      "--sample-tokens",
      [&args](int n) { args.spec.set_sample_token_count(n); },
      "Tokens of each (default: 32)");
  app.add_option_function<uint64_t>(
      "--seed", [&args](uint64_t seed) { args.spec.set_seed(seed); },
      "Of the random directions (default: 42)");
  app.add_option_function<double>(
         "--control-tolerance",
         [&args](double share) { args.spec.set_control_tolerance(share); },
         "How far controls may fall, as a share (default: 0.05)")
      ->check(CLI::Range(0.0, 1.0));
}

CommandRun DefineSteerSweep(CLI::App& app) {
  auto args = std::make_shared<SteerArgs>();
  AddVariantOptions(app, args->variant);
  app.add_option("--data", args->data,
                 "Multiple-choice questions, JSON lines; -: stdin. Those with "
                 "a false answer measure the belief, others are controls")
      ->required();
  AddGridOptions(app, *args);
  app.add_option_function<std::string>(
         "--scoring",
         [args](const std::string& word) {
           args->spec.set_scoring(
               ChosenValue("--scoring", word, ScoringChoices()));
         },
         absl::StrCat("Answer format: ", kScoringsHelp))
      ->type_name("FORMAT");
  AddSearchOptions(app, *args);
  AddJobOptions(app, args->job);
  app.footer(
      "A job. Files: steering.jsonl, steering.csv, summary.json, null.csv, "
      "samples.jsonl, and charts for Vega-Lite.");
  return [args](const Session& session) { return SteerSweep(session, *args); };
}

}  // namespace

std::vector<Command> SteerCommands() {
  return {{"steer", "sweep",
           "Steer block by block, and ask what it believes then",
           DefineSteerSweep}};
}

}  // namespace dissonance::cli
