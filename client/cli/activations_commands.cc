// dissonance activations.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/activation_folder.h"
#include "client/cli/activation_manifest.h"
#include "client/cli/activation_stream.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/interrupts.h"
#include "client/cli/lens_sweep.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/progress.h"
#include "client/cli/prompt_options.h"
#include "client/cli/variant_options.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kShardBytes = uint64_t{1} << 30;

struct ActivationsArgs {
  VariantOptions variant;
  PromptOptions prompts;
  std::vector<v1::Site> sites;
  std::vector<int32_t> blocks;
  std::optional<v1::Positions> positions;
  bool mean = false;
  v1::DType dtype = v1::DTYPE_UNSPECIFIED;
  int32_t max_new_tokens = 0;
  uint64_t shard_bytes = kShardBytes;
  std::string out;
};

v1::StreamActivationsRequest RequestOf(const ActivationsArgs& args,
                                       const v1::Variant& variant,
                                       const std::vector<InputRow>& rows) {
  v1::StreamActivationsRequest request;
  *request.add_variants() = variant;
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  v1::CaptureSpec& capture = *request.mutable_capture();
  for (const v1::Site site : args.sites) capture.add_sites(site);
  capture.mutable_blocks()->Add(args.blocks.begin(), args.blocks.end());
  if (args.positions.has_value()) {
    *capture.mutable_positions() = *args.positions;
  } else {
    capture.mutable_positions()->set_set(v1::POSITION_SET_LAST_PROMPT);
  }
  if (args.mean) capture.set_reduction(v1::REDUCTION_MEAN);
  capture.set_dtype(args.dtype);
  if (args.max_new_tokens > 0) {
    request.mutable_generation()->set_max_new_token_count(args.max_new_tokens);
  }
  return request;
}

void Report(const Session& session, const ActivationsArgs& args,
            const ActivationFolder& folder, bool from_store) {
  const nlohmann::json record = {{"out", args.out},
                                 {"row_count", folder.row_count()},
                                 {"place_count", folder.row_shapes().size()},
                                 {"shard_count", folder.shard_count()},
                                 {"size_bytes", folder.byte_count()},
                                 {"from_store", from_store}};
  Table table({{"OUT"},
               {"ROWS", Align::kRight},
               {"PLACES", Align::kRight},
               {"SHARDS", Align::kRight},
               {"SIZE", Align::kRight}});
  table.AddRow({args.out, absl::StrCat(folder.row_count()),
                absl::StrCat(folder.row_shapes().size()),
                absl::StrCat(folder.shard_count()),
                HumanBytes(folder.byte_count())});
  EmitOne(session.output, record, table);
}

absl::Status Activations(const Session& session, const ActivationsArgs& args) {
  if (args.max_new_tokens == 0 && args.positions.has_value() &&
      args.positions->set() == v1::POSITION_SET_GENERATED) {
    return UsageError(
        "--positions generated: nothing is generated without --max-new-tokens "
        "N");
  }
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ReadPrompts(args.prompts));
  ASSIGN_OR_RETURN(const NamedVariant variant, MakeVariant(args.variant));
  // Before other threads, which inherit the mask.
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::GetModelRequest get;
  get.set_name(variant.variant.model());
  ASSIGN_OR_RETURN(const v1::GetModelResponse model,
                   connection->Call(&v1::Models::Stub::GetModel, get));
  ASSIGN_OR_RETURN(auto folder,
                   ActivationFolder::Create(
                       args.out, static_cast<int64_t>(args.shard_bytes)));
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  const v1::StreamActivationsRequest request =
      RequestOf(args, variant.variant, rows);
  ActivationStream stream(*connection, *interrupts, display, *folder);
  ASSIGN_OR_RETURN(const v1::ActivationSummary summary,
                   stream.Read(request, rows));
  RETURN_IF_ERROR(folder->Finish(
      ActivationManifest(variant.name, request, summary, folder->row_shapes(),
                         model.model().block_count())));
  if (summary.from_store()) {
    display.Line(
        "the server had kept the answer to this request; nothing was computed "
        "again");
  }
  Report(session, args, *folder, summary.from_store());
  return absl::OkStatus();
}

CommandRun DefineActivations(CLI::App& app) {
  auto args = std::make_shared<ActivationsArgs>();
  AddVariantOptions(app, args->variant);
  AddPromptOptions(app, args->prompts);
  AddParsed(app, "--sites", "SITES", args->sites, ParseSites,
            "Which activations: resid_post,logits (resid_pre, q, k, v, "
            "pattern, z, attn_out, resid_mid, mlp_hidden, mlp_out, resid_post, "
            "final_norm, logits)")
      ->required();
  AddParsed(app, "--blocks", "BLOCKS", args->blocks, ParseBlocks,
            absl::StrCat("Blocks: ", kBlocksHelp, " (default: all)"));
  AddParsed(
      app, "--positions", "POSITIONS", args->positions, ParsePositions,
      absl::StrCat("Positions: ", kPositionsHelp, " (default: last_prompt)"));
  app.add_flag("--mean", args->mean,
               "One row for each input: the mean over its positions");
  AddChoice<v1::DType>(app, "--dtype", "TYPE", args->dtype,
                       {{"float32", v1::DTYPE_FLOAT32},
                        {"bfloat16", v1::DTYPE_BFLOAT16},
                        {"float64", v1::DTYPE_FLOAT64}},
                       "float32, bfloat16 or float64 (default: float32)");
  app.add_option("--max-new-tokens", args->max_new_tokens,
                 "Continue each prompt greedily by so many tokens, whose "
                 "positions can be captured too")
      ->check(CLI::PositiveNumber);
  app.add_option("--out", args->out, "Folder for the results; absent or empty")
      ->required();
  app.add_option("--shard-size", args->shard_bytes,
                 "Size at which a shard ends, e.g. 512MiB (default: 1GiB)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->type_name("SIZE");
  app.footer(
      "DIR gets activations-NNNNN.safetensors (tensors blocks.<L>.<site> "
      "[rows, width], final_norm, logits; a pattern for each input), "
      "metadata.jsonl with one line a row, and manifest.json.");
  return [args](const Session& session) { return Activations(session, *args); };
}

}  // namespace

std::vector<Command> ActivationsCommands() {
  return {{"activations", "", "Activations of any sites, blocks and positions",
           DefineActivations},
          {"activations", "extract", "The same over many prompts, as a job",
           DefineActivationsExtract}};
}

}  // namespace dissonance::cli
