#include "client/cli/lens_sweep.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/candidates.h"
#include "client/cli/choice.h"
#include "client/cli/compared_variants.h"
#include "client/cli/job_run.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/probe_view.h"
#include "client/cli/scoring_choices.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// What both have.
struct SweepArgs {
  VariantOptions variant;
  std::vector<std::string> compared;
  std::string data;
  std::vector<v1::Site> sites;
  std::vector<int32_t> blocks;
  std::optional<v1::Positions> positions;
  v1::McqScoring scoring = v1::MCQ_SCORING_UNSPECIFIED;
  JobArgs job;
};

void AddSweepOptions(CLI::App& app, const char* sites_help, SweepArgs& args) {
  AddVariantOptions(app, args.variant);
  AddComparedOption(app, args.compared);
  app.add_option("--data", args.data,
                 "Prompts or multiple-choice questions, JSON lines; -: stdin")
      ->required();
  AddParsed(app, "--sites", "SITES", args.sites, ParseSites, sites_help);
  AddParsed(app, "--blocks", "BLOCKS", args.blocks, ParseBlocks,
            absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"));
  AddParsed(app, "--positions", "POSITIONS", args.positions, ParsePositions,
            "Positions of the prompt: last_prompt, all, BEGIN-END or indices "
            "3,5,7 (default: last_prompt)");
  AddChoice<v1::McqScoring>(
      app, "--scoring", "FORMAT", args.scoring, ScoringChoices(),
      absl::StrCat("How questions are asked: ", kScoringsHelp));
  AddJobOptions(app, args.job);
}

// The base model, the adapter and what the interventions make of it.
template <typename Spec>
absl::Status AddVariants(const SweepArgs& args, Spec& spec) {
  ASSIGN_OR_RETURN(const std::vector<NamedVariant> variants,
                   ComparedVariants(args.variant, args.compared));
  for (const NamedVariant& each : variants) {
    *spec.add_variants() = each.variant;
  }
  spec.set_scoring(args.scoring);
  return absl::OkStatus();
}

struct LensSweepArgs {
  SweepArgs sweep;
  std::vector<std::string> candidates;
  int32_t top_k = 1;
};

absl::Status LensSweep(const Session& session, const LensSweepArgs& args) {
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.sweep.data));
  v1::JobSpec filled;
  v1::LogitLensSpec& spec = *filled.mutable_logit_lens();
  RETURN_IF_ERROR(AddVariants(args.sweep, spec));
  for (const v1::Site site : args.sweep.sites) spec.add_sites(site);
  spec.mutable_blocks()->Add(args.sweep.blocks.begin(),
                             args.sweep.blocks.end());
  if (args.sweep.positions) *spec.mutable_positions() = *args.sweep.positions;
  spec.set_top_k(args.top_k);
  return RunJob(
      session, args.sweep.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         ASSIGN_OR_RETURN(const std::vector<v1::Candidate> candidates,
                          ReadCandidates(connection, spec.variants(0).model(),
                                         args.candidates));
         spec.mutable_candidates()->Assign(candidates.begin(),
                                           candidates.end());
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show = LensSweepText,
       .report = "trajectories.json"});
}

struct ExtractArgs {
  SweepArgs sweep;
  bool mean = false;
  v1::DType dtype = v1::DTYPE_UNSPECIFIED;
};

absl::Status Extract(const Session& session, const ExtractArgs& args) {
  ASSIGN_OR_RETURN(const JobData data, ReadJobData(args.sweep.data));
  v1::JobSpec filled;
  v1::ExtractActivationsSpec& spec = *filled.mutable_extract_activations();
  RETURN_IF_ERROR(AddVariants(args.sweep, spec));
  v1::CaptureSpec& capture = *spec.mutable_capture();
  for (const v1::Site site : args.sweep.sites) capture.add_sites(site);
  if (args.sweep.sites.empty()) capture.add_sites(v1::SITE_RESID_POST);
  capture.mutable_blocks()->Add(args.sweep.blocks.begin(),
                                args.sweep.blocks.end());
  if (args.sweep.positions) {
    *capture.mutable_positions() = *args.sweep.positions;
  }
  if (args.mean) capture.set_reduction(v1::REDUCTION_MEAN);
  capture.set_dtype(args.dtype);
  return RunJob(
      session, args.sweep.job,
      {.fill = [&](Connection& connection) -> absl::StatusOr<v1::JobSpec> {
         RETURN_IF_ERROR(AddJobData(connection, data, spec));
         return filled;
       },
       .show = ExtractionText,
       .report = "manifest.json"});
}

}  // namespace

CommandRun DefineLensSweep(CLI::App& app) {
  auto args = std::make_shared<LensSweepArgs>();
  AddSweepOptions(app,
                  "Sites to read, of the residual stream's width (default: "
                  "resid_post)",
                  args->sweep);
  app.add_option("--candidates", args->candidates,
                 absl::StrCat("The two answers, ", kCandidatesHelp,
                              " (default: the first tokens of each question's "
                              "true and false answer)"))
      ->delimiter(',')
      ->type_name("A=TEXT,B=TEXT");
  app.add_option("--top-k", args->top_k,
                 "Most likely tokens of each layer to give (default: 1)")
      ->check(CLI::Range(1, 1000));
  app.footer(
      "A job. Base and adapter side by side. Files: lens.jsonl, "
      "trajectories.json, trajectories.csv, breaking.csv, and charts for "
      "Vega-Lite.");
  return [args](const Session& session) { return LensSweep(session, *args); };
}

CommandRun DefineActivationsExtract(CLI::App& app) {
  auto args = std::make_shared<ExtractArgs>();
  AddSweepOptions(app, "Which activations (default: resid_post)", args->sweep);
  app.add_flag("--mean", args->mean,
               "One row for each input: the mean over its positions");
  AddChoice<v1::DType>(app, "--dtype", "TYPE", args->dtype,
                       {{"float32", v1::DTYPE_FLOAT32},
                        {"bfloat16", v1::DTYPE_BFLOAT16},
                        {"float64", v1::DTYPE_FLOAT64}},
                       "float32, bfloat16 or float64 (default: float32)");
  app.footer(
      "A job. A folder for each network, as `activations` writes it; `probe "
      "train --activations JOB` takes the rows from there.");
  return [args](const Session& session) { return Extract(session, *args); };
}

}  // namespace dissonance::cli
