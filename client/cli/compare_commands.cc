// dissonance compare.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/types/span.h"
#include "client/cli/command.h"
#include "client/cli/compare_view.h"
#include "client/cli/compared_variants.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/heat.h"
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

struct CompareArgs {
  VariantOptions variant;
  std::vector<std::string> compared;
  PromptOptions prompts;
  std::optional<v1::Positions> positions;
  int32_t top_k = 1;
};

// Whether it is a reading of each variant in order, with the same blocks.
bool IsComplete(const v1::ComparedPosition& position, size_t variant_count) {
  if (position.readings_size() != static_cast<int>(variant_count)) return false;
  const int blocks = position.readings().rbegin()->residual_size();
  int index = 0;
  return absl::c_all_of(
      position.readings(), [&](const v1::VariantReading& reading) {
        const bool is_first = index == 0;
        return reading.variant_index() == index++ &&
               (is_first || reading.residual_size() == blocks);
      });
}

// By input, then position.
absl::StatusOr<std::vector<std::vector<v1::ComparedPosition>>> ReadCompared(
    Connection& connection, v1::CompareVariantsRequest request,
    absl::Span<const InputRow> rows) {
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  ASSIGN_OR_RETURN(std::vector<v1::CompareVariantsResponse> responses,
                   connection.CollectAgain(
                       &v1::Interpretability::Stub::CompareVariants, request));
  std::vector<std::vector<v1::ComparedPosition>> out(rows.size());
  for (v1::CompareVariantsResponse& response : responses) {
    if (!response.has_position()) continue;
    const auto input =
        static_cast<size_t>(response.position().row().input_index());
    if (input >= rows.size() ||
        !IsComplete(response.position(), request.variants_size())) {
      return absl::InternalError(
          "the server's answer does not match what was asked; are client and "
          "server of the same version?");
    }
    out[input].push_back(std::move(*response.mutable_position()));
  }
  return out;
}

absl::Status Compare(const Session& session, const CompareArgs& args) {
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ReadPrompts(args.prompts));
  ASSIGN_OR_RETURN(const std::vector<NamedVariant> variants,
                   ComparedVariants(args.variant, args.compared));
  if (variants.size() < 2) {
    return UsageError(
        "there is only the base model; name what it is compared with: "
        "--adapter, or an intervention such as --steer");
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::CompareVariantsRequest request;
  std::vector<std::string> names;
  for (const NamedVariant& each : variants) {
    *request.add_variants() = each.variant;
    names.push_back(each.name);
  }
  if (args.positions.has_value()) {
    *request.mutable_positions() = *args.positions;
  }
  request.set_top_k(args.top_k);
  TokenTexts texts(*connection, variants.front().variant.model());
  const Heat heat(UsesColour());
  RecordWriter records(FormatFor(session));
  if (records.wants_table()) {
    std::fputs(LabelLegend(variants).c_str(), stdout);
  }
  RETURN_IF_ERROR(InBatches(
      rows, [](const InputRow& row) { return row.input.ByteSizeLong(); },
      [&](absl::Span<const InputRow> some) -> absl::Status {
        ASSIGN_OR_RETURN(const auto inputs,
                         ReadCompared(*connection, request, some));
        for (size_t i = 0; i < some.size(); ++i) {
          if (inputs[i].empty()) continue;
          if (records.wants_table()) {
            records.AddText(
                ComparedText(some[i].id, inputs[i], names, texts, heat));
            continue;
          }
          for (const v1::ComparedPosition& position : inputs[i]) {
            records.Add(ComparedJson(some[i].id, position, names, texts));
          }
        }
        return absl::OkStatus();
      }));
  records.Finish();
  return absl::OkStatus();
}

CommandRun DefineCompare(CLI::App& app) {
  auto args = std::make_shared<CompareArgs>();
  AddVariantOptions(app, args->variant);
  AddComparedOption(app, args->compared);
  AddPromptOptions(app, args->prompts);
  AddParsed(app, "--positions", "POSITIONS", args->positions, ParsePositions,
            "Positions of the prompt: last_prompt, all, BEGIN-END or indices "
            "3,5,7 (default: all)");
  app.add_option("--top-k", args->top_k,
                 "Most likely tokens of each variant to give (default: 1)")
      ->check(CLI::Range(0, 1000));
  app.footer(
      "Compared with the base model: the adapter, and what the interventions "
      "make of it. Tables on a terminal; else JSON lines {id, position, token, "
      "readings: [{variant, next_token_logprob, kl, reverse_kl, top, residual: "
      "[{block, distance, relative_distance, cosine, lens_kl}]}]}; kl is "
      "KL(variant || base) in nats.");
  return [args](const Session& session) { return Compare(session, *args); };
}

}  // namespace

std::vector<Command> CompareCommands() {
  return {{"compare", "", "How far an adapter or an intervention is from base",
           DefineCompare}};
}

}  // namespace dissonance::cli
