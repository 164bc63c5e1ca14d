// JSON lines: one JSON object a line, UTF-8, blank lines allowed. Errors name
// file and line, as in "questions.jsonl:7: ...". Thread safe.
#ifndef DISSONANCE_BASE_JSON_LINES_H_
#define DISSONANCE_BASE_JSON_LINES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// One parsed line.
struct JsonLine {
  int line_number = 0;   // from 1, counting blank lines
  nlohmann::json value;  // always an object
};

// The objects of `text`. INVALID_ARGUMENT for a line that is not UTF-8, not
// JSON, not an object, nested deeper than 64 levels, or that repeats a key.
// A byte order mark at the start is skipped; lines may end in "\r\n".
absl::StatusOr<std::vector<JsonLine>> ParseJsonLines(
    absl::string_view text, absl::string_view file_name);

// Strict parse of one JSON text, with the same checks. `where` begins the
// messages.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text,
                                         absl::string_view where);

// Compact JSON with sorted keys and UTF-8 as it is, ended by "\n". Numbers
// that are not finite become null.
std::string ToJsonLine(const nlohmann::json& value);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_JSON_LINES_H_
