// dissonance patch sweep.
#include "client/cli/patch_sweep.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/candidates.h"
#include "client/cli/choice.h"
#include "client/cli/heat.h"
#include "client/cli/job_run.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/scoring_choices.h"
#include "client/cli/sweep_view.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct PatchSweepArgs {
  VariantOptions target;
  std::string source_adapter;
  std::string data;
  std::vector<std::string> candidates;
  std::vector<v1::Site> sites;
  std::vector<int32_t> blocks;
  std::optional<v1::Positions> positions;
  v1::PatchSweepSpec spec;
  JobArgs job;
};

absl::StatusOr<v1::PatchSweepSpec> SpecOf(const PatchSweepArgs& args) {
  v1::PatchSweepSpec spec = args.spec;
  ASSIGN_OR_RETURN(const NamedVariant target, MakeVariant(args.target));
  VariantOptions source_options;
  source_options.model = args.target.model;
  source_options.adapter = args.source_adapter;
  ASSIGN_OR_RETURN(const NamedVariant source, MakeVariant(source_options));
  *spec.mutable_target() = target.variant;
  *spec.mutable_source() = source.variant;
  for (const v1::Site site : args.sites) spec.add_sites(site);
  spec.mutable_blocks()->Add(args.blocks.begin(), args.blocks.end());
  if (args.positions.has_value()) *spec.mutable_positions() = *args.positions;
  return spec;
}

absl::Status RunPatchSweep(const Session& session, const PatchSweepArgs& args) {
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.data));
  v1::JobSpec filled;
  v1::PatchSweepSpec& spec = *filled.mutable_patch_sweep();
  ASSIGN_OR_RETURN(spec, SpecOf(args));
  return RunJob(
      session, args.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         ASSIGN_OR_RETURN(const std::vector<v1::Candidate> candidates,
                          ReadCandidates(connection, spec.target().model(),
                                         args.candidates));
         spec.mutable_candidates()->Assign(candidates.begin(),
                                           candidates.end());
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show =
           [](const std::string& directory) {
             return PatchSweepText(directory, Heat(UsesColour()));
           },
       .report = "manifest.json"});
}

void AddPlaceOptions(CLI::App& app, PatchSweepArgs& args) {
  AddParsed(app, "--sites", "SITES", args.sites, ParseSites,
            "Sites to patch (default: resid_post,attn_out,mlp_out)");
  AddParsed(app, "--blocks", "BLOCKS", args.blocks, ParseBlocks,
            absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"));
  AddParsed(app, "--positions", "POSITIONS", args.positions, ParsePositions,
            "Positions of each prompt, each patched alone: last_prompt, all, "
            "BEGIN-END or indices 3,5,7 (default: the last 8)");
  app.add_flag_callback(
      "--each-head", [&args] { args.spec.set_each_head(true); },
      "Patch every head of z, q, k and v alone");
  app.add_flag_callback(
      "--both-directions", [&args] { args.spec.set_both_directions(true); },
      "Patch the target's rows into the source too");
  app.add_option_function<std::string>(
         "--attribution",
         [&args](const std::string& word) {
           args.spec.set_attribution(ChosenValue<v1::AttributionUse>(
               "--attribution", word,
               {{"compare", v1::ATTRIBUTION_USE_COMPARE},
                {"alone", v1::ATTRIBUTION_USE_ALONE}}));
         },
         "The fast approximation by gradients: compare it with the exact "
         "effects, or take it alone")
      ->type_name("USE");
}

}  // namespace

CommandRun DefinePatchSweep(CLI::App& app) {
  auto args = std::make_shared<PatchSweepArgs>();
  AddVariantOptions(app, args->target);
  app.add_option("--source-adapter", args->source_adapter,
                 "Adapter of the network that rows come from (default: the "
                 "base model)");
  app.add_option("--data", args->data,
                 "Prompts, JSON lines; -: stdin. Of multiple-choice questions "
                 "those with a false answer are used")
      ->required();
  app.add_option("--candidates", args->candidates,
                 absl::StrCat("The two answers, ", kCandidatesHelp,
                              " (default: the first tokens of each question's "
                              "true and false answer)"))
      ->delimiter(',')
      ->type_name("A=TEXT,B=TEXT");
  AddPlaceOptions(app, *args);
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
      "A job. Means over prompts, positions counted from the end. Files: "
      "patch.jsonl, map.csv, heads.csv, attribution.json, and charts for "
      "Vega-Lite.");
  return
      [args](const Session& session) { return RunPatchSweep(session, *args); };
}

}  // namespace dissonance::cli
