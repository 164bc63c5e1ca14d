// dissonance score.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/input_file.h"
#include "client/cli/input_rows.h"
#include "client/cli/row_batches.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kInputLimitBytes = uint64_t{1} << 30;

struct ScoreArgs {
  VariantOptions variant;
  std::string input;
};

absl::StatusOr<std::vector<nlohmann::json>> ScoreSome(
    Connection& connection, const v1::Variant& variant,
    absl::Span<const ScoreRow> rows) {
  v1::ScoreRequest request;
  *request.add_variants() = variant;
  for (const ScoreRow& row : rows) *request.add_items() = row.item;
  ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                   connection.CallAgain(&v1::Inference::Stub::Score, request,
                                        absl::InfiniteDuration()));
  std::vector<nlohmann::json> records(rows.size());
  for (const v1::ItemScore& score : response.scores()) {
    const auto index = static_cast<size_t>(score.item_index());
    if (index >= rows.size() ||
        score.continuations_size() != rows[index].item.continuations_size()) {
      return absl::InternalError(
          "the server's answer does not match the rows that were asked about; "
          "are client and server of the same version?");
    }
    records[index] = ScoreRowJson(rows[index], score);
  }
  return records;
}

Table ScoreTable(const std::vector<nlohmann::json>& records) {
  Table table({{"ID"},
               {"CONTINUATION"},
               {"LOGPROB", Align::kRight},
               {"TOKENS", Align::kRight}});
  for (const nlohmann::json& record : records) {
    const nlohmann::json& id = record["id"];
    for (const nlohmann::json& each : record["continuations"]) {
      table.AddRow(
          {id.is_string() ? id.get<std::string>() : id.dump(),
           (each["text"].is_null() ? each["tokens"] : each["text"]).dump(),
           each["logprob"].is_null()
               ? "-"
               : absl::StrFormat("%.4f", each["logprob"].get<double>()),
           absl::StrCat(each["tokens"].size())});
    }
  }
  return table;
}

absl::Status Score(const Session& session, const ScoreArgs& args) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadInput(args.input, kInputLimitBytes));
  ASSIGN_OR_RETURN(const std::vector<ScoreRow> rows,
                   ParseScoreRows(text, InputLabel(args.input)));
  ASSIGN_OR_RETURN(const NamedVariant named, MakeVariant(args.variant));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  // Results are for programs first: JSON lines unless asked otherwise.
  const OutputFormat format =
      session.output_given ? session.output : OutputFormat::kJsonLines;
  const bool stream = format == OutputFormat::kJsonLines;
  std::vector<nlohmann::json> all;
  RETURN_IF_ERROR(InBatches(
      rows, [](const ScoreRow& row) { return row.item.ByteSizeLong(); },
      [&](absl::Span<const ScoreRow> some) -> absl::Status {
        ASSIGN_OR_RETURN(const std::vector<nlohmann::json> records,
                         ScoreSome(*connection, named.variant, some));
        if (stream) {
          Emit(format, records, Table({{""}}));
        } else {
          all.insert(all.end(), records.begin(), records.end());
        }
        return absl::OkStatus();
      }));
  if (!stream) Emit(format, all, ScoreTable(all));
  return absl::OkStatus();
}

CommandRun DefineScore(CLI::App& app) {
  auto args = std::make_shared<ScoreArgs>();
  AddVariantOptions(app, args->variant);
  app.add_option("--input", args->input,
                 "JSON lines {id, prompt | chat | tokens, continuations}; -: "
                 "stdin")
      ->required();
  app.footer(
      "A row's continuations are texts or {\"tokens\": [ids]}. Each row gives "
      "a "
      "line {id, continuations: [{text, tokens, logprob, token_logprobs, "
      "bytes}], prompt_tokens}, unless -o says otherwise.");
  return [args](const Session& session) { return Score(session, *args); };
}

}  // namespace

std::vector<Command> ScoreCommands() {
  return {{"score", "", "Log-probabilities of continuations", DefineScore}};
}

}  // namespace dissonance::cli
