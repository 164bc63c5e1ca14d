// Rows of the JSON-lines files that commands take: those of
// src/lab/eval/input_rows.h, for score with continuations. Errors name file,
// line and field. Values and pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<ScoreRow> rows,
//                    ParseScoreRows(text, "rows.jsonl"));
//   std::cout << ToJsonLine(ScoreRowJson(rows[0], score));
#ifndef DISSONANCE_CLIENT_CLI_INPUT_ROWS_H_
#define DISSONANCE_CLIENT_CLI_INPUT_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/input_rows.h"

namespace dissonance::cli {

struct ScoreRow {
  // As the file has it, a string or an integer; the line number if absent.
  nlohmann::json id;
  v1::ScoreItem item;
};

// All rows of a file. INVALID_ARGUMENT naming file, line and field; also for a
// file without rows.
absl::StatusOr<std::vector<ScoreRow>> ParseScoreRows(
    const std::string& text, const std::string& file_name);

// {id, continuations: [{text, tokens, logprob, token_logprobs, bytes}],
// prompt_tokens}. text and bytes are null for a continuation given as tokens;
// a number that is not finite is null, with a "reason".
nlohmann::json ScoreRowJson(const ScoreRow& row, const v1::ItemScore& score);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_INPUT_ROWS_H_
