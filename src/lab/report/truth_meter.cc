// The truth meter: tokens coloured by how far they lie along a direction.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "src/base/status_macros.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Colours of the smallest and the greatest projection, and between; dark text
// can be read on all of them.
struct Rgb {
  double red;
  double green;
  double blue;
};
constexpr Rgb kLow = {242, 166, 104};
constexpr Rgb kMiddle = {236, 233, 228};
constexpr Rgb kHigh = {124, 184, 226};

std::string Mixed(const Rgb& from, const Rgb& to, double share) {
  const auto mix = [share](double a, double b) {
    return static_cast<int>(std::lround(a + (b - a) * share));
  };
  return absl::StrFormat("#%02x%02x%02x", mix(from.red, to.red),
                         mix(from.green, to.green), mix(from.blue, to.blue));
}

// Least and greatest projection of all tokens.
struct Range {
  double low = INFINITY;
  double high = -INFINITY;

  bool is_empty() const { return low > high; }
  void Add(const Json& tokens) {
    for (const Json& token : tokens) {
      if (!token.at("projection").is_number()) continue;
      const auto value = token.at("projection").get<double>();
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  std::string ColourOf(double value) const {
    const double share = high > low ? (value - low) / (high - low) : 0.5;
    return share < 0.5 ? Mixed(kLow, kMiddle, 2 * share)
                       : Mixed(kMiddle, kHigh, 2 * share - 1);
  }
};

// A token that brings no text, as the one that ends an answer, is a dot.
std::string TextOf(const Json& token) {
  const auto text = token.at("text").get<std::string>();
  return text.empty() ? "\u00b7" : text;
}

std::string TokenHtml(const Json& token, const Range& range) {
  if (!token.at("projection").is_number()) {
    return Escaped(token.at("text").get<std::string>());
  }
  const auto value = token.at("projection").get<double>();
  return absl::StrCat("<span style=\"background:", range.ColourOf(value),
                      "\" title=\"", SignedText(value), "\">",
                      Escaped(TextOf(token)), "</span>");
}

std::string AnswerHtml(const Json& sample, const char* name,
                       const Range& range) {
  const std::string tokens = absl::StrCat(name, "_tokens");
  std::string html = absl::StrCat("<dt class=\"", name, "\">", name,
                                  "</dt><dd class=\"tokens\">");
  if (!sample.contains(tokens)) {
    return absl::StrCat(html, Escaped(sample.at(name).get<std::string>()),
                        "</dd>");
  }
  for (const Json& token : sample.at(tokens)) html += TokenHtml(token, range);
  return absl::StrCat(html, "</dd>");
}

void AddTokenRows(const Json& sample, HtmlTableParts& table) {
  for (const char* name : {"unsteered", "steered"}) {
    const std::string tokens = absl::StrCat(name, "_tokens");
    if (!sample.contains(tokens)) continue;
    for (const Json& token : sample.at(tokens)) {
      table.rows.push_back({CellText(sample.at("id")), name,
                            Code(TextOf(token)),
                            NumberText(token, "projection")});
    }
  }
}

std::string Legend(const Range& range) {
  return absl::StrCat(
      "<p class=\"legend\"><span>", SignedText(range.low),
      "</span><span class=\"bar\" style=\"background:linear-gradient(90deg,",
      range.ColourOf(range.low), ",",
      range.ColourOf((range.low + range.high) / 2), ",",
      range.ColourOf(range.high), ")\"></span><span>", SignedText(range.high),
      "</span></p>\n");
}

std::string SampleHtml(const Json& sample, const Range& range) {
  return absl::StrCat(
      "<li>", Paragraph(sample.at("id").get<std::string>(), "note"),
      "<dl class=\"sides\"><div>", AnswerHtml(sample, "unsteered", range),
      "</div><div>", AnswerHtml(sample, "steered", range),
      "</div></dl></li>\n");
}

std::string MeterHtml(const Range& range) {
  return absl::StrCat(
      Paragraph("Truth meter: how far the residual row behind each token "
                "lies along the direction, at its place; the number is in the "
                "token's tooltip and in the table below. What steering adds "
                "is in the steered rows.",
                "note"),
      Legend(range));
}

}  // namespace

absl::StatusOr<std::string> SamplesHtml(const StageFiles& files) {
  if (!files.Has("samples.jsonl")) return "";
  Range range;
  RETURN_IF_ERROR(files.EachLine("samples.jsonl", [&](const Json& sample) {
    for (const char* tokens : {"unsteered_tokens", "steered_tokens"}) {
      if (sample.contains(tokens)) range.Add(sample.at(tokens));
    }
  }));
  std::string samples;
  HtmlTableParts table = {
      .caption = "Projection of each generated token",
      .headers = {{"question"}, {"answer"}, {"token"}, {"projection", true}},
      .rows = {}};
  RETURN_IF_ERROR(files.EachLine("samples.jsonl", [&](const Json& sample) {
    samples += SampleHtml(sample, range);
    AddTokenRows(sample, table);
  }));
  if (samples.empty()) return "";
  return absl::StrCat(
      "<h3>Continued without and with the best steering</h3>\n",
      range.is_empty() ? "" : MeterHtml(range), "<ul class=\"truth\">\n",
      samples, "</ul>\n",
      range.is_empty() ? ""
                       : Details("Projections as a table", HtmlTable(table)));
}

}  // namespace dissonance
