// Pieces of HTML with data in them. Whatever comes from a result goes through
// Escaped or ScriptJson, so that no text of a model or a data file becomes
// markup or script. Pure functions; thread safe.
//
//   html += absl::StrCat("<p>", Escaped(answer), "</p>");
//   html += HtmlTable({.caption = "Files", .headers = {{"name"}, {"digest"}},
//                      .rows = {{Escaped(name), Code(digest)}}});
#ifndef DISSONANCE_LAB_REPORT_HTML_H_
#define DISSONANCE_LAB_REPORT_HTML_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// Text, or the value of a quoted attribute.
std::string Escaped(absl::string_view text);

// JSON to stand in a <script>: ASCII, and nothing in it ends the element.
std::string ScriptJson(const nlohmann::json& value);

// "<code>...</code>".
std::string Code(absl::string_view text);

// "<p class="CLASS">...</p>"; the text is escaped.
std::string Paragraph(absl::string_view text, absl::string_view css_class = "");

// What may stand in an id, in place of a name: a-z, 0-9, "_" and "-".
std::string Slug(absl::string_view name);

struct HtmlColumn {
  std::string title;
  bool is_numeric = false;  // to the right, figures of one width
};

// The first cell of a row is its header. Wide tables scroll within their box.
struct HtmlTableParts {
  std::string caption;
  std::vector<HtmlColumn> headers;
  std::vector<std::vector<std::string>> rows;  // HTML
  // Each row is a card of its own where the page is narrow.
  bool is_stacked = false;
};
std::string HtmlTable(const HtmlTableParts& parts);

// Something to be opened, closed at first; `html` is what it holds.
std::string Details(absl::string_view summary, absl::string_view html);

// Figures as people read them. "-" for what is not known.
std::string NumberText(double value);               // "0.9283", "6.46e-27"
std::string SignedText(double value);               // "+2.32"
std::string PercentText(double share);              // "65.0 %"
std::string IntervalText(double low, double high);  // "[56, 73]", of shares
std::string PText(double p);                        // "0.048", "6.5e-27"

// The same of a field that may be null or absent.
std::string NumberText(const nlohmann::json& row, const char* field);
std::string PercentText(const nlohmann::json& row, const char* field);

// The cell of a table of data: short, escaped; empty for null.
std::string CellText(const nlohmann::json& value);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_HTML_H_
