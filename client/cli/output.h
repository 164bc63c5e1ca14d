// What goes to stdout: aligned tables for people, exact JSON for programs.
// Thread safe; owns nothing.
//
//   Table table({{"NAME"}, {"SIZE", Align::kRight}});
//   table.AddRow({"report.json", HumanBytes(12345)});
//   Emit(format, {json}, table);
#ifndef DISSONANCE_CLIENT_CLI_OUTPUT_H_
#define DISSONANCE_CLIENT_CLI_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// How results are written.
enum class OutputFormat {
  kTable,      // for people
  kJson,       // one indented value
  kJsonLines,  // one object a line
};

enum class Align { kLeft, kRight };

// Rows of cells, aligned on display width. Control characters in a cell are
// shown escaped, so that no text from elsewhere drives the terminal.
class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  // Text, and SGR parameters ("48;5;202") for its colours; empty: none.
  struct Cell {
    std::string text;
    std::string style = {};
  };

  // A table without titles prints none.
  explicit Table(std::vector<Column> columns);

  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);
  // Not as an overload: braced texts would fit both.
  void AddCells(std::vector<Cell> cells);

  std::string Render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Writes the table, a JSON array of the records, or one record a line.
void Emit(OutputFormat format, const std::vector<nlohmann::json>& records,
          const Table& table);

// The same for a single record, which is not wrapped into an array.
void EmitOne(OutputFormat format, const nlohmann::json& record,
             const Table& table);

// The same for a result that is text: people get it as it is, ended by a line
// break.
void EmitText(OutputFormat format, const nlohmann::json& record,
              absl::string_view text);

// How people see a row's id, which is text or a number.
std::string TextOfId(const nlohmann::json& id);

// JSON as files and `-o json` have it: indented, sorted keys, ended by "\n".
std::string ToIndented(const nlohmann::json& value);

// Terminal columns that UTF-8 text takes.
int DisplayWidth(absl::string_view text);

// `text` with control characters as \uXXXX and line breaks as spaces.
std::string Printable(absl::string_view text);

// The same for text of several lines: line breaks and tabs are kept.
std::string PrintableLines(absl::string_view text);

// "12.1 KiB"; "-" for 0, which means absent throughout the API.
std::string HumanBytes(int64_t bytes);
// "8.03 B", "1,234".
std::string HumanCount(int64_t count);
// "4.2 s", "3 min 20 s", "2 h 5 min".
std::string HumanDuration(absl::Duration duration);
// Local time to the second; "-" if unset.
std::string HumanTime(const google::protobuf::Timestamp& time);
// "83.3 %".
std::string HumanPercent(double share);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_OUTPUT_H_
