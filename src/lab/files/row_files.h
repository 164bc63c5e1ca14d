// Rows as files: CSV and JSON lines. Pure functions; thread safe.
//
//   std::string text = CsvFile({"block", "auc"}, rows);
#ifndef DISSONANCE_LAB_FILES_ROW_FILES_H_
#define DISSONANCE_LAB_FILES_ROW_FILES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// The named fields of each row, which are numbers, texts, booleans or null
// (an empty cell; so is a number that is not finite), under their names
// (RFC 4180, but with LF).
std::string CsvFile(absl::Span<const std::string> columns,
                    absl::Span<const nlohmann::json> rows);

// One line a row.
std::string LinesFile(absl::Span<const nlohmann::json> rows);

// Of a file, by its name's ending, e.g. "text/csv; charset=utf-8".
absl::string_view MediaTypeOf(absl::string_view file_name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FILES_ROW_FILES_H_
