// dissonance lens.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cli/candidates.h"
#include "client/cli/command.h"
#include "client/cli/compared_variants.h"
#include "client/cli/connection.h"
#include "client/cli/heat.h"
#include "client/cli/lens_sweep.h"
#include "client/cli/lens_view.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/prompt_options.h"
#include "client/cli/record_writer.h"
#include "client/cli/row_batches.h"
#include "client/cli/token_texts.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct LensArgs {
  VariantOptions variant;
  bool compare = false;
  std::vector<std::string> compared;
  PromptOptions prompts;
  std::vector<v1::Site> sites;
  std::vector<int32_t> blocks;
  std::optional<v1::Positions> positions;
  std::vector<std::string> candidates;
  int32_t top_k = 1;
};

// The readings by input, then variant, then position.
absl::StatusOr<std::vector<std::vector<LensResult>>> ReadLens(
    Connection& connection, v1::LogitLensRequest request,
    const std::vector<NamedVariant>& variants,
    absl::Span<const InputRow> rows) {
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  ASSIGN_OR_RETURN(
      const std::vector<v1::LogitLensResponse> responses,
      connection.CollectAgain(&v1::Interpretability::Stub::LogitLens, request));
  std::vector<std::vector<LensResult>> out(rows.size());
  for (const v1::LogitLensResponse& response : responses) {
    if (!response.has_position()) continue;
    const v1::LensPosition& position = response.position();
    const auto input = static_cast<size_t>(position.row().input_index());
    const auto variant = static_cast<size_t>(position.variant_index());
    if (input >= rows.size() || variant >= variants.size() ||
        position.layers().empty() ||
        position.layers_size() != responses.front().position().layers_size()) {
      return absl::InternalError(
          "the server's answer does not match what was asked; are client and "
          "server of the same version?");
    }
    out[input].push_back({variants[variant].name, rows[input].id, position});
  }
  return out;
}

absl::Status Lens(const Session& session, const LensArgs& args) {
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ReadPrompts(args.prompts));
  std::vector<NamedVariant> variants;
  if (args.compare || !args.compared.empty()) {
    ASSIGN_OR_RETURN(variants, ComparedVariants(args.variant, args.compared));
  } else {
    ASSIGN_OR_RETURN(NamedVariant variant, MakeVariant(args.variant));
    variants.push_back(std::move(variant));
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  const std::string model = variants.front().variant.model();
  ASSIGN_OR_RETURN(const std::vector<v1::Candidate> candidates,
                   ReadCandidates(*connection, model, args.candidates));
  v1::LogitLensRequest request;
  for (const NamedVariant& each : variants) {
    *request.add_variants() = each.variant;
  }
  for (const v1::Site site : args.sites) request.add_sites(site);
  request.mutable_blocks()->Add(args.blocks.begin(), args.blocks.end());
  if (args.positions.has_value()) {
    *request.mutable_positions() = *args.positions;
  }
  request.mutable_candidates()->Add(candidates.begin(), candidates.end());
  request.set_top_k(args.top_k);
  TokenTexts texts(*connection, model);
  const Heat heat(UsesColour());
  RecordWriter records(FormatFor(session));
  if (records.wants_table()) {
    std::fputs(LabelLegend(variants).c_str(), stdout);
  }
  RETURN_IF_ERROR(InBatches(
      rows, [](const InputRow& row) { return row.input.ByteSizeLong(); },
      [&](absl::Span<const InputRow> some) -> absl::Status {
        ASSIGN_OR_RETURN(const auto inputs,
                         ReadLens(*connection, request, variants, some));
        for (const std::vector<LensResult>& results : inputs) {
          if (results.empty()) continue;
          if (records.wants_table()) {
            records.AddText(LensText(results, texts, heat));
            continue;
          }
          for (const LensResult& result : results) {
            records.Add(LensJson(result, texts));
          }
        }
        return absl::OkStatus();
      }));
  records.Finish();
  return absl::OkStatus();
}

CommandRun DefineLens(CLI::App& app) {
  auto args = std::make_shared<LensArgs>();
  AddVariantOptions(app, args->variant);
  app.add_flag("--compare", args->compare,
               "Side by side: the base model, the adapter, and what the "
               "interventions make of it");
  AddComparedOption(app, args->compared);
  AddPromptOptions(app, args->prompts);
  app.add_option("--candidates", args->candidates,
                 absl::StrCat("Answers to watch, ", kCandidatesHelp))
      ->delimiter(',')
      ->type_name("NAME=TEXT,...");
  AddParsed(app, "--sites", "SITES", args->sites, ParseSites,
            "Sites to read, of the residual stream's width (default: "
            "resid_post)");
  AddParsed(app, "--blocks", "BLOCKS", args->blocks, ParseBlocks,
            absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"));
  AddParsed(app, "--positions", "POSITIONS", args->positions, ParsePositions,
            "Positions of the prompt: last_prompt, all, BEGIN-END or indices "
            "3,5,7 (default: last_prompt)");
  app.add_option("--top-k", args->top_k,
                 "Most likely tokens of each layer to give (default: 1)")
      ->check(CLI::Range(0, 1000));
  app.footer(
      "A table on a terminal; else JSON lines {id, variant, position, layers: "
      "[{block, site, candidates: {NAME: {token_id, logit, logprob, prob, "
      "rank}}, margin, top}]}, of which the last layer is the model's own "
      "output. The margin is the first candidate's logit less the second's; "
      "the breaking block is the first from which on its sign stays.");
  return [args](const Session& session) { return Lens(session, *args); };
}

}  // namespace

std::vector<Command> LensCommands() {
  return {{"lens", "", "What the layers would answer (logit lens)", DefineLens},
          {"lens", "sweep", "Trajectories over many prompts, as a job",
           DefineLensSweep}};
}

}  // namespace dissonance::cli
