// Prompts as the rows of a JSON-lines file: {id, prompt | chat | tokens,
// labels?, group?, add_special_tokens?}. Commands and jobs read them alike.
// Errors name file, line and field. Values and pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<InputRow> rows,
//                    ParseInputRows(text, "rows.jsonl"));
#ifndef DISSONANCE_LAB_EVAL_INPUT_ROWS_H_
#define DISSONANCE_LAB_EVAL_INPUT_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"

namespace dissonance {

struct InputRow {
  // As the file has it, a string or an integer; the line number if absent.
  nlohmann::json id;
  // Its id is the same as text.
  v1::Input input;
};

// The prompt of a row. A chat ends with the opening of an assistant's turn
// unless the row says "add_generation_prompt": false.
absl::StatusOr<v1::Input> ParseInput(const nlohmann::json& row,
                                     const std::string& where);

// A row of a file; `where` is "FILE:LINE".
absl::StatusOr<InputRow> ParseInputRow(const JsonLine& line,
                                       const std::string& where);

// All rows of a file. INVALID_ARGUMENT naming file, line and field; also for a
// file without rows.
absl::StatusOr<std::vector<InputRow>> ParseInputRows(
    absl::string_view text, absl::string_view file_name);

// A conversation from [{"role": R, "content": C}, ...]. INVALID_ARGUMENT with
// `where` and the field at fault.
absl::StatusOr<v1::Chat> ParseChat(const nlohmann::json& messages,
                                   const std::string& where);

// Token ids from an array of integers of 0 to 2^31 - 1; same errors.
absl::StatusOr<v1::TokenIds> ParseTokenIds(const nlohmann::json& ids,
                                           const std::string& where);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_INPUT_ROWS_H_
