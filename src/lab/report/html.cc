#include "src/lab/report/html.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace dissonance {

using Json = nlohmann::json;

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"'", "&#39;"}});
}

std::string ScriptJson(const Json& value) {
  // ASCII alone: U+2028 ends a line for some readers.
  const std::string text =
      value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return absl::StrReplaceAll(
      text, {{"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}});
}

std::string Code(absl::string_view text) {
  return absl::StrCat("<code>", Escaped(text), "</code>");
}

std::string Paragraph(absl::string_view text, absl::string_view css_class) {
  return css_class.empty() ? absl::StrCat("<p>", Escaped(text), "</p>\n")
                           : absl::StrCat("<p class=\"", css_class, "\">",
                                          Escaped(text), "</p>\n");
}

std::string Slug(absl::string_view name) {
  std::string slug;
  for (const char c : name) {
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    const bool kept =
        absl::ascii_isalnum(static_cast<unsigned char>(lower)) || c == '_';
    slug += kept ? lower : '-';
  }
  return slug;
}

std::string HtmlTable(const HtmlTableParts& parts) {
  const auto numeric = [&](size_t column) {
    return parts.headers[column].is_numeric ? " class=\"n\"" : "";
  };
  std::string html = absl::StrCat(
      "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"",
      Escaped(parts.caption), "\"><table",
      parts.is_stacked ? " class=\"stack\"" : "", "><caption>",
      Escaped(parts.caption), "</caption>\n<thead><tr>");
  for (size_t c = 0; c < parts.headers.size(); ++c) {
    absl::StrAppend(&html, "<th scope=\"col\"", numeric(c), ">",
                    Escaped(parts.headers[c].title), "</th>");
  }
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n");
  for (const std::vector<std::string>& row : parts.rows) {
    absl::StrAppend(&html, "<tr>");
    for (size_t c = 0; c < row.size(); ++c) {
      const char* const tag = c == 0 ? "th" : "td";
      absl::StrAppend(&html, "<", tag, c == 0 ? " scope=\"row\"" : "",
                      numeric(c), ">", row[c], "</", tag, ">");
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>\n");
}

std::string Details(absl::string_view summary, absl::string_view html) {
  return absl::StrCat("<details><summary>", Escaped(summary), "</summary>\n",
                      html, "</details>\n");
}

std::string NumberText(double value) {
  if (!std::isfinite(value)) return "-";
  if (value == std::floor(value) && std::fabs(value) < 1e9) {
    return absl::StrFormat("%.0f", value);
  }
  return absl::StrFormat("%.4g", value);
}

std::string SignedText(double value) { return absl::StrFormat("%+.2f", value); }

std::string PercentText(double share) {
  return absl::StrFormat("%.1f %%", 100 * share);
}

std::string IntervalText(double low, double high) {
  return absl::StrFormat("[%.0f, %.0f]", 100 * low, 100 * high);
}

std::string PText(double p) { return absl::StrFormat("%.2g", p); }

std::string NumberText(const Json& row, const char* field) {
  const auto found = row.find(field);
  return found == row.end() || !found->is_number()
             ? "-"
             : NumberText(found->get<double>());
}

std::string PercentText(const Json& row, const char* field) {
  const auto found = row.find(field);
  return found == row.end() || !found->is_number()
             ? "-"
             : PercentText(found->get<double>());
}

std::string CellText(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_number_float()) return NumberText(value.get<double>());
  if (value.is_string()) return Escaped(value.get<std::string>());
  return Escaped(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace dissonance
