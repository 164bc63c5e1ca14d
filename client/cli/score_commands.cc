// dissonance score.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/input_file.h"
#include "client/cli/input_rows.h"
#include "client/cli/progress.h"
#include "client/cli/variant_options.h"
#include "src/base/clock.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kInputLimitBytes = uint64_t{1} << 30;
// One request: enough rows to fill the server's batches, few enough that
// results come steadily and no message is large.
constexpr size_t kRowsPerRequest = 64;
constexpr size_t kBytesPerRequest = 1 << 20;

struct ScoreArgs {
  VariantOptions variant;
  std::string input;
};

// How many of the first rows go into one request.
size_t RequestSize(absl::Span<const ScoreRow> rows) {
  size_t bytes = 0;
  size_t count = 0;
  while (count < rows.size() && count < kRowsPerRequest) {
    bytes += rows[count].item.ByteSizeLong();
    if (count > 0 && bytes > kBytesPerRequest) break;
    ++count;
  }
  return count;
}

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
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  // Results are for programs first: JSON lines unless asked otherwise.
  const OutputFormat format =
      session.output_given ? session.output : OutputFormat::kJsonLines;
  const bool stream = format == OutputFormat::kJsonLines;
  std::vector<nlohmann::json> all;
  v1::Progress progress;
  progress.set_total_count(static_cast<int64_t>(rows.size()));
  progress.set_unit("rows");
  for (absl::Span<const ScoreRow> left(rows); !left.empty();) {
    const size_t count = RequestSize(left);
    ASSIGN_OR_RETURN(
        const std::vector<nlohmann::json> records,
        ScoreSome(*connection, named.variant, left.subspan(0, count)));
    left.remove_prefix(count);
    if (stream) {
      Emit(format, records, Table({{""}}));
    } else {
      all.insert(all.end(), records.begin(), records.end());
    }
    progress.set_done_count(static_cast<int64_t>(rows.size() - left.size()));
    // A file that fits into one request needs no progress.
    if (rows.size() > count) display.Update(progress);
  }
  display.Finish();
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
