#include "src/lab/files/row_files.h"

#include <cmath>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "src/base/json_lines.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::string Quoted(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string CsvCell(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return Quoted(value.get<std::string>());
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return "";
  return value.dump();
}

}  // namespace

std::string CsvFile(absl::Span<const std::string> columns,
                    absl::Span<const Json> rows) {
  std::string text = absl::StrCat(absl::StrJoin(columns, ","), "\n");
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& column : columns) {
      cells.push_back(row.contains(column) ? CsvCell(row.at(column)) : "");
    }
    absl::StrAppend(&text, absl::StrJoin(cells, ","), "\n");
  }
  return text;
}

std::string LinesFile(absl::Span<const Json> rows) {
  std::string text;
  for (const Json& row : rows) text += ToJsonLine(row);
  return text;
}

absl::string_view MediaTypeOf(absl::string_view file_name) {
  if (absl::EndsWith(file_name, ".jsonl")) return "application/jsonl";
  if (absl::EndsWith(file_name, ".json")) return "application/json";
  if (absl::EndsWith(file_name, ".csv")) return "text/csv; charset=utf-8";
  return "text/plain; charset=utf-8";
}

}  // namespace dissonance
