// dissonance patch, dissonance patch sweep.
#include <cstdint>
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
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/heat.h"
#include "client/cli/parsed_option.h"
#include "client/cli/patch_sweep.h"
#include "client/cli/patch_view.h"
#include "client/cli/places.h"
#include "client/cli/prompt_options.h"
#include "client/cli/record_writer.h"
#include "client/cli/row_batches.h"
#include "client/cli/token_texts.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct PatchArgs {
  VariantOptions target;
  std::string source_adapter;
  PromptOptions prompts;
  PromptOptions source_prompts;
  std::vector<v1::Site> sites = {v1::SITE_RESID_POST};
  std::vector<int32_t> blocks;
  std::optional<v1::Positions> positions;
  std::vector<std::string> candidates;

  bool has_source_prompts() const {
    return source_prompts.prompt.has_value() || !source_prompts.input.empty();
  }
};

// An input and what the source reads in its place.
struct Pair {
  InputRow target;
  std::optional<v1::Input> source;
};

absl::StatusOr<std::vector<Pair>> ReadPairs(const PatchArgs& args) {
  ASSIGN_OR_RETURN(std::vector<InputRow> rows, ReadPrompts(args.prompts));
  std::vector<Pair> pairs;
  for (InputRow& row : rows) pairs.push_back({std::move(row), std::nullopt});
  if (!args.has_source_prompts()) return pairs;
  ASSIGN_OR_RETURN(std::vector<InputRow> sources,
                   ReadPrompts(args.source_prompts));
  if (sources.size() != pairs.size()) {
    return UsageError(absl::StrCat(
        "found ", pairs.size(), " input(s) and ", sources.size(),
        " source input(s); each input needs one, in the same order"));
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].source = std::move(sources[i].input);
  }
  return pairs;
}

absl::StatusOr<NamedVariant> SourceOf(const PatchArgs& args) {
  VariantOptions source;
  source.model = args.target.model;
  source.adapter = args.source_adapter;
  return MakeVariant(source);
}

absl::StatusOr<v1::PatchResponse> PatchOne(Connection& connection,
                                           v1::PatchRequest request,
                                           const Pair& pair) {
  *request.add_inputs() = pair.target.input;
  if (pair.source.has_value()) *request.add_source_inputs() = *pair.source;
  absl::StatusOr<v1::PatchResponse> response = connection.CallAgain(
      &v1::Interpretability::Stub::Patch, request, absl::InfiniteDuration());
  if (!response.ok()) {
    return Annotate(response.status(),
                    absl::StrCat("input ", TextOfId(pair.target.id)));
  }
  return response;
}

absl::StatusOr<v1::PatchRequest> RequestOf(Connection& connection,
                                           const PatchArgs& args,
                                           const NamedVariant& source,
                                           const NamedVariant& target) {
  v1::PatchRequest request;
  *request.mutable_source() = source.variant;
  *request.mutable_target() = target.variant;
  for (const v1::Site site : args.sites) request.add_sites(site);
  request.mutable_blocks()->Add(args.blocks.begin(), args.blocks.end());
  if (args.positions.has_value()) {
    *request.mutable_positions() = *args.positions;
  }
  ASSIGN_OR_RETURN(
      const std::vector<v1::Candidate> candidates,
      ReadCandidates(connection, target.variant.model(), args.candidates));
  request.mutable_candidates()->Add(candidates.begin(), candidates.end());
  return request;
}

absl::Status Patch(const Session& session, const PatchArgs& args) {
  ASSIGN_OR_RETURN(const std::vector<Pair> pairs, ReadPairs(args));
  ASSIGN_OR_RETURN(const NamedVariant source, SourceOf(args));
  ASSIGN_OR_RETURN(const NamedVariant target, MakeVariant(args.target));
  if (IsSameVariant(source, target) && !args.has_source_prompts()) {
    return UsageError(
        "source and target are the same network with the same inputs; add "
        "--adapter to patch it with the base model's rows, or "
        "--source-prompt, --source-input or --source-adapter");
  }
  if (args.candidates.size() != 2) {
    return UsageError(absl::StrCat("--candidates: expected two, found ",
                                   args.candidates.size()));
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::PatchRequest request,
                   RequestOf(*connection, args, source, target));
  const PatchNames names = {source.name, target.name,
                            request.candidates(0).name(),
                            request.candidates(1).name()};
  const std::string& model = target.variant.model();
  TokenTexts texts(*connection, model);
  const Heat heat(UsesColour());
  RecordWriter records(FormatFor(session));
  const auto bytes_of = [](const Pair& pair) {
    return pair.target.input.ByteSizeLong();
  };
  const auto ask = [&](absl::Span<const Pair> some) -> absl::Status {
    const Pair& pair = some.front();
    ASSIGN_OR_RETURN(const v1::PatchResponse response,
                     PatchOne(*connection, request, pair));
    for (const v1::PatchResult& result : response.results()) {
      records.Add(PatchJson(pair.target.id, result));
    }
    if (!records.wants_table() || response.results().empty()) {
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                     TokensOf(*connection, model, pair.target.input));
    const std::vector<v1::PatchResult> results(response.results().begin(),
                                               response.results().end());
    records.AddText(
        PatchText(pair.target.id, results, tokens, names, texts, heat));
    return absl::OkStatus();
  };
  // An input's patches are a batch of their own.
  RETURN_IF_ERROR(InBatches(pairs, bytes_of, ask, /*rows_per_request=*/1));
  records.Finish();
  return absl::OkStatus();
}

CommandRun DefinePatch(CLI::App& app) {
  auto args = std::make_shared<PatchArgs>();
  AddVariantOptions(app, args->target);
  app.add_option("--source-adapter", args->source_adapter,
                 "Adapter of the network that rows come from (default: the "
                 "base model)");
  AddPromptOptions(app, args->prompts);
  auto* source_input = app.add_option(
      "--source-input", args->source_prompts.input,
      "JSON lines that the source reads instead, one for each input, with as "
      "many tokens (default: the same inputs)");
  app.add_option("--source-prompt", args->source_prompts.prompt,
                 "Text that the source reads instead, with as many tokens")
      ->excludes(source_input);
  app.add_option("--candidates", args->candidates,
                 absl::StrCat("The two answers, ", kCandidatesHelp))
      ->delimiter(',')
      ->type_name("A=TEXT,B=TEXT")
      ->required();
  AddParsed(app, "--sites", "SITES", args->sites, ParseSites,
            "Sites to patch (default: resid_post)");
  AddParsed(app, "--blocks", "BLOCKS", args->blocks, ParseBlocks,
            absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"));
  AddParsed(app, "--positions", "POSITIONS", args->positions, ParsePositions,
            "Positions of the prompt, each patched alone: last_prompt, all, "
            "BEGIN-END or indices 3,5,7 (default: last_prompt)");
  app.footer(
      "Each place and position alone: the target computes the input with that "
      "one row of the source. delta = logit(A) - logit(B) after the last "
      "token. A heat map on a terminal; else JSON lines {id, block, site, "
      "position, delta_before, delta_after, pair_prob_before, "
      "pair_prob_after, flip, delta_source}.");
  return [args](const Session& session) { return Patch(session, *args); };
}

}  // namespace

std::vector<Command> PatchCommands() {
  return {{"patch", "", "Put one network's activations into another's pass",
           DefinePatch},
          {"patch", "sweep", "Map what a network's activations carry over",
           DefinePatchSweep}};
}

}  // namespace dissonance::cli
