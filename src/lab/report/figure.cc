#include "src/lab/report/figure.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "src/lab/files/row_files.h"
#include "src/lab/report/html.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Rows of a table on the page. The CSV has all of them.
constexpr size_t kShownRows = 200;

// How a network looks. Colours are of the page's style sheet, which has them
// for light and dark.
struct Look {
  const char* colour;
  const char* shape;
  const char* glyph;  // that shape as text
};
constexpr Look kBaseLook = {"var(--base)", "circle", "\u25cf"};
constexpr Look kOtherLooks[] = {
    {"var(--adapter)", "square", "\u25a0"},
    {"var(--third)", "triangle-up", "\u25b2"},
    {"var(--fourth)", "diamond", "\u25c6"},
    {"var(--fifth)", "cross", "\u271a"},
};

Look LookOf(absl::Span<const std::string> names, size_t index) {
  if (names[index] == "base") return kBaseLook;
  size_t other = 0;
  for (size_t i = 0; i < index; ++i) other += names[i] == "base" ? 0 : 1;
  return kOtherLooks[std::min(other, std::size(kOtherLooks) - 1)];
}

// A channel that tells networks apart by `member` of their looks.
Json VariantChannel(absl::Span<const std::string> names,
                    const char* Look::*member) {
  Json range = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    range.push_back(LookOf(names, i).*member);
  }
  Json domain(std::vector<std::string>(names.begin(), names.end()));
  return {{"field", "variant"},
          {"type", "nominal"},
          {"legend", nullptr},
          {"scale", {{"domain", std::move(domain)}, {"range", range}}}};
}

std::string LegendHtml(absl::Span<const std::string> names) {
  if (names.empty()) return "";
  std::string html = "<ul class=\"networks\">";
  for (size_t i = 0; i < names.size(); ++i) {
    const Look look = LookOf(names, i);
    absl::StrAppend(
        &html, "<li><span aria-hidden=\"true\" style=\"color:", look.colour,
        "\">", look.glyph, "</span> ", Escaped(names[i]), "</li>");
  }
  return absl::StrCat(html, "</ul>\n");
}

std::string PanelHtml(const Figure& figure, const Panel& panel) {
  std::string html = "<div class=\"panel\">";
  if (!panel.title.empty()) {
    absl::StrAppend(&html, Paragraph(panel.title, "panel-title"));
  }
  const std::string alt =
      absl::StrCat(panel.title.empty() ? figure.title : panel.title, ". ",
                   panel.alt, " The table below has the data.");
  return absl::StrCat(
      html, "<div class=\"chart\" role=\"img\" aria-label=\"", Escaped(alt),
      "\" data-rows=\"", figure.id,
      ".csv\"></div><script type=\"application/json\">",
      ScriptJson({{"spec", panel.spec}, {"where", panel.where}}),
      "</script></div>\n");
}

// Whether a column is of numbers or booleans, not of texts.
bool HoldsValues(const Figure& figure, const std::string& column) {
  return absl::c_any_of(figure.rows, [&](const Json& row) {
    return row.contains(column) &&
           (row.at(column).is_number() || row.at(column).is_boolean());
  });
}

std::string ValueColumns(const Figure& figure) {
  std::vector<std::string> columns;
  absl::c_copy_if(
      figure.columns, std::back_inserter(columns),
      [&](const std::string& column) { return HoldsValues(figure, column); });
  return absl::StrJoin(columns, " ");
}

std::string TableHtml(const Figure& figure) {
  const size_t shown = std::min(figure.rows.size(), kShownRows);
  std::string caption = figure.title;
  if (shown < figure.rows.size()) {
    absl::StrAppend(&caption, ": the first ", shown, " of ", figure.rows.size(),
                    " rows; the CSV has all of them");
  }
  HtmlTableParts table = {.caption = caption, .headers = {}, .rows = {}};
  for (const std::string& column : figure.columns) {
    table.headers.push_back({column, HoldsValues(figure, column)});
  }
  for (size_t i = 0; i < shown; ++i) {
    std::vector<std::string> cells;
    for (const std::string& column : figure.columns) {
      cells.push_back(figure.rows[i].contains(column)
                          ? CellText(figure.rows[i].at(column))
                          : "");
    }
    table.rows.push_back(std::move(cells));
  }
  return Details(absl::StrCat("Data of this figure, ", figure.rows.size(),
                              figure.rows.size() == 1 ? " row" : " rows"),
                 HtmlTable(table));
}

}  // namespace

void AddFigure(const Figure& figure, Section& section) {
  const std::string csv = CsvFile(figure.columns, figure.rows);
  std::string& html = section.html;
  absl::StrAppend(&html, "<figure id=\"", figure.id, "\">\n<figcaption><h3>",
                  Escaped(figure.title), "</h3>");
  if (!figure.note.empty()) html += Paragraph(figure.note, "note");
  absl::StrAppend(&html, "</figcaption>\n", LegendHtml(figure.networks),
                  "<div class=\"panels",
                  figure.panels.size() > 1 ? " several" : "", "\">\n");
  for (const Panel& panel : figure.panels) html += PanelHtml(figure, panel);
  absl::StrAppend(&html, "</div>\n<p class=\"links\"><a id=\"", figure.id,
                  ".csv\" data-values=\"", ValueColumns(figure),
                  "\" download=\"", figure.id,
                  ".csv\" href=\"data:text/csv;charset=utf-8;base64,",
                  absl::Base64Escape(csv), "\">", figure.id, ".csv</a></p>\n",
                  TableHtml(figure), "</figure>\n");
  section.files.push_back({absl::StrCat("report/", figure.id, ".csv"), csv});
}

size_t Stride(size_t count, size_t most) {
  return std::max<size_t>((count + most - 1) / most, 1);
}

std::string StrideNote(size_t stride, const std::string& what) {
  return stride == 1 ? ""
                     : absl::StrCat(" One ", what, " of ", stride,
                                    " is shown; the job's own files have all.");
}

Json Rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  return Json::parse(absl::StrFormat("%.6g", value));
}

Json Channel(const std::string& field, const std::string& type,
             const std::string& title) {
  return {{"field", field}, {"type", type}, {"title", title}};
}

Json ShareChannel(const std::string& field, const std::string& title) {
  Json channel = Channel(field, "quantitative", title);
  channel["scale"] = {{"domain", {0, 1}}};
  channel["axis"] = {{"format", ".0%"}, {"tickCount", 5}};
  return channel;
}

Json CountChannel(const std::string& field, const std::string& title) {
  Json channel = Channel(field, "quantitative", title);
  channel["axis"] = {{"tickMinStep", 1}, {"format", "d"}};
  return channel;
}

std::string ColourOf(absl::Span<const std::string> names, size_t index) {
  return LookOf(names, index).colour;
}

Json VariantColour(absl::Span<const std::string> names) {
  return VariantChannel(names, &Look::colour);
}

Json VariantShape(absl::Span<const std::string> names) {
  return VariantChannel(names, &Look::shape);
}

Json Once(Json layer) {
  layer["data"] = {{"values", Json::array({Json::object()})}};
  return layer;
}

}  // namespace dissonance
