#include "client/cli/output.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/base/json_lines.h"

namespace dissonance::cli {
namespace {

constexpr absl::string_view kColumnGap = "  ";
constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};

struct Range {
  uint32_t first;
  uint32_t last;
};

// Unicode's wide and fullwidth blocks, coarsely.
constexpr std::array<Range, 9> kWide = {{{0x1100, 0x115F},
                                         {0x2E80, 0x303E},
                                         {0x3041, 0xA4CF},
                                         {0xAC00, 0xD7A3},
                                         {0xF900, 0xFAFF},
                                         {0xFE30, 0xFE6F},
                                         {0xFF00, 0xFF60},
                                         {0x1F300, 0x1FAFF},
                                         {0x20000, 0x3FFFD}}};
// Combining marks, joiners and variation selectors.
constexpr std::array<Range, 6> kZeroWidth = {{{0x0300, 0x036F},
                                              {0x200B, 0x200F},
                                              {0x20D0, 0x20FF},
                                              {0xFE00, 0xFE0F},
                                              {0xFE20, 0xFE2F},
                                              {0xFEFF, 0xFEFF}}};

template <size_t count>
bool IsIn(const std::array<Range, count>& ranges, uint32_t point) {
  return std::any_of(ranges.begin(), ranges.end(), [point](const Range& r) {
    return point >= r.first && point <= r.last;
  });
}

// Takes the first code point off `text`; a byte that begins none counts alone.
uint32_t TakeCodePoint(absl::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t point = length == 1 ? lead : lead & (0xFFU >> (length + 1));
  size_t taken = 1;
  while (taken < length && taken < text.size() &&
         (static_cast<unsigned char>(text[taken]) & 0xC0) == 0x80) {
    point = (point << 6) | (static_cast<unsigned char>(text[taken]) & 0x3F);
    ++taken;
  }
  text.remove_prefix(taken);
  return point;
}

std::string Styled(const std::string& cell, absl::string_view style) {
  if (style.empty()) return cell;
  return absl::StrCat("\x1b[", style, "m", cell, "\x1b[0m");
}

// Control characters as \uXXXX; line breaks and tabs kept, or as spaces.
std::string Escaped(absl::string_view text, bool keep_lines) {
  std::string out;
  while (!text.empty()) {
    const absl::string_view before = text;
    const uint32_t point = TakeCodePoint(text);
    const bool is_line = point == '\n' || point == '\t';
    if (!keep_lines && (is_line || point == '\r')) {
      out += ' ';
    } else if (!is_line && (point < 0x20 || (point >= 0x7F && point < 0xA0))) {
      absl::StrAppendFormat(&out, "\\u%04x", point);
    } else {
      absl::StrAppend(&out, before.substr(0, before.size() - text.size()));
    }
  }
  return out;
}

void Write(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace

int DisplayWidth(absl::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const uint32_t point = TakeCodePoint(text);
    width += IsIn(kZeroWidth, point) ? 0 : IsIn(kWide, point) ? 2 : 1;
  }
  return width;
}

std::string Printable(absl::string_view text) {
  return Escaped(text, /*keep_lines=*/false);
}

std::string PrintableLines(absl::string_view text) {
  return Escaped(text, /*keep_lines=*/true);
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.title = Printable(column.title);
}

void Table::AddRow(std::vector<std::string> cells) {
  std::vector<Cell> row;
  for (std::string& cell : cells) row.push_back({std::move(cell)});
  AddCells(std::move(row));
}

void Table::AddCells(std::vector<Cell> cells) {
  for (Cell& cell : cells) cell.text = Printable(cell.text);
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render() const {
  std::vector<Cell> titles;
  std::vector<int> widths;
  for (const Column& column : columns_) {
    titles.push_back({column.title});
    widths.push_back(DisplayWidth(column.title));
  }
  for (const std::vector<Cell>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
    }
  }
  std::string out;
  const auto add_line = [&](const std::vector<Cell>& cells) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Cell& cell = cells[i];
      const std::string fill(widths[i] - DisplayWidth(cell.text), ' ');
      if (i > 0) absl::StrAppend(&line, kColumnGap);
      line += Styled(columns_[i].align == Align::kLeft ? cell.text + fill
                                                       : fill + cell.text,
                     cell.style);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  };
  const bool titled =
      std::any_of(columns_.begin(), columns_.end(),
                  [](const Column& c) { return !c.title.empty(); });
  if (titled) add_line(titles);
  for (const std::vector<Cell>& row : rows_) add_line(row);
  return out;
}

void Emit(OutputFormat format, const std::vector<nlohmann::json>& records,
          const Table& table) {
  switch (format) {
    case OutputFormat::kTable:
      Write(table.Render());
      return;
    case OutputFormat::kJson:
      Write(ToIndented(nlohmann::json(records)));
      return;
    case OutputFormat::kJsonLines:
      for (const nlohmann::json& record : records) Write(ToJsonLine(record));
      return;
  }
}

void EmitOne(OutputFormat format, const nlohmann::json& record,
             const Table& table) {
  if (format == OutputFormat::kJson) {
    Write(ToIndented(record));
    return;
  }
  Emit(format, {record}, table);
}

void EmitText(OutputFormat format, const nlohmann::json& record,
              absl::string_view text) {
  if (format == OutputFormat::kTable) {
    Write(text);
    if (!absl::EndsWith(text, "\n")) Write("\n");
    return;
  }
  EmitOne(format, record, Table({{""}}));
}

std::string TextOfId(const nlohmann::json& id) {
  return Printable(id.is_string() ? id.get<std::string>() : id.dump());
}

std::string ToIndented(const nlohmann::json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

std::string HumanBytes(int64_t bytes) {
  if (bytes == 0) return "-";
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would print as 1024.0 of the smaller unit.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanCount(int64_t count) {
  const auto value = static_cast<double>(count);
  if (count >= 1'000'000'000) return absl::StrFormat("%.2f B", value / 1e9);
  if (count >= 1'000'000) return absl::StrFormat("%.2f M", value / 1e6);
  std::string digits = absl::StrCat(count);
  const int first = count < 0 ? 1 : 0;
  for (int at = static_cast<int>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ',');
  }
  return digits;
}

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (duration < absl::Seconds(10)) {
    return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
  }
  if (seconds < 60) return absl::StrCat(seconds, " s");
  if (seconds < 3600) {
    return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
  }
  if (seconds < int64_t{48} * 3600) {
    return absl::StrCat(seconds / 3600, " h ", seconds % 3600 / 60, " min");
  }
  return absl::StrCat(seconds / 86400, " d ", seconds % 86400 / 3600, " h");
}

std::string HumanTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S",
                          absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string HumanPercent(double share) {
  return absl::StrFormat("%.1f %%", share * 100);
}

}  // namespace dissonance::cli
