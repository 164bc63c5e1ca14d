#include "client/cli/columns.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/output.h"

namespace dissonance::cli {
namespace {

constexpr absl::string_view kGap = "   ";

// The longest front of `text`, in whole characters, that fits; at least one.
absl::string_view FrontThatFits(absl::string_view text, int width) {
  size_t end = 0;
  for (size_t next = 1; next <= text.size(); ++next) {
    const bool inside = next < text.size() &&
                        (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80;
    if (inside) continue;
    if (end > 0 && DisplayWidth(text.substr(0, next)) > width) break;
    end = next;
  }
  return text.substr(0, end);
}

// One paragraph. Spaces where a line is broken are dropped.
void WrapParagraph(absl::string_view text, int width,
                   std::vector<std::string>& lines) {
  while (DisplayWidth(text) > width) {
    absl::string_view line = FrontThatFits(text, width);
    const bool at_space = text[line.size()] == ' ';
    const size_t space = line.rfind(' ');
    if (!at_space && space != absl::string_view::npos && space > 0) {
      line = line.substr(0, space);
    }
    lines.emplace_back(line);
    text.remove_prefix(line.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  lines.emplace_back(text);
}

int WidestOf(const std::vector<std::string>& lines) {
  int widest = 0;
  for (const std::string& line : lines) {
    widest = std::max(widest, DisplayWidth(line));
  }
  return widest;
}

}  // namespace

std::vector<std::string> WrapLines(absl::string_view text, int width) {
  std::vector<std::string> lines;
  for (const absl::string_view paragraph : absl::StrSplit(text, '\n')) {
    WrapParagraph(paragraph, width, lines);
  }
  return lines;
}

int ColumnWidth(int count, int width) {
  return (width - (count - 1) * static_cast<int>(kGap.size())) / count;
}

std::string SideBySide(const std::vector<std::string>& titles,
                       const std::vector<std::string>& texts, int width) {
  const int column = ColumnWidth(static_cast<int>(titles.size()), width);
  std::vector<std::vector<std::string>> cells;
  size_t title_height = 0;
  for (const std::string& title : titles) {
    cells.push_back(WrapLines(Printable(title), column));
    title_height = std::max(title_height, cells.back().size());
  }
  size_t height = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    const int rule = WidestOf(cells[i]);
    cells[i].resize(title_height);
    cells[i].emplace_back(static_cast<size_t>(rule), '-');
    // A tab's width depends on where it stands.
    const std::string text =
        absl::StrReplaceAll(PrintableLines(texts[i]), {{"\t", "    "}});
    for (std::string& line : WrapLines(text, column)) {
      cells[i].push_back(std::move(line));
    }
    height = std::max(height, cells[i].size());
  }
  std::string out;
  for (size_t row = 0; row < height; ++row) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string cell = row < cells[i].size() ? cells[i][row] : "";
      absl::StrAppend(&line, i == 0 ? "" : kGap, cell,
                      std::string(static_cast<size_t>(
                                      std::max(column - DisplayWidth(cell), 0)),
                                  ' '));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

}  // namespace dissonance::cli
