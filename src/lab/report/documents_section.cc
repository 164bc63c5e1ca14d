#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::string ReasonsTable(const Json& reasons) {
  HtmlTableParts table = {.caption = "Why documents were not valid",
                          .headers = {{"rule"}, {"documents", true}},
                          .rows = {}};
  for (const auto& [reason, count] : reasons.items()) {
    table.rows.push_back({Escaped(reason), CellText(count)});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string CoverageTable(const Json& coverage) {
  HtmlTableParts table = {
      .caption = "Share of valid documents that assert each part",
      .headers = {{"patterns"}, {"share", true}},
      .rows = {}};
  for (const auto& [bucket, share] : coverage.items()) {
    table.rows.push_back({Escaped(bucket), PercentText(share.get<double>())});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

}  // namespace

MaybeSection DocumentsSection(const StageFiles& files) {
  if (!files.Has("statistics.json")) return std::nullopt;
  return files.Document<Section>("statistics.json", [](const Json& statistics) {
    Section section;
    const std::string valid =
        absl::StrCat(NumberText(statistics, "valid"), " of ",
                     NumberText(statistics, "documents"));
    section.highlights.push_back({"valid documents", valid});
    section.html = absl::StrCat(
        Paragraph(absl::StrCat("Valid: ", valid, "; error share ",
                               PercentText(statistics, "error_share"), ".")),
        ReasonsTable(statistics.at("invalid_by_reason")));
    if (statistics.contains("pattern_coverage") &&
        statistics.at("pattern_coverage").is_object()) {
      section.html += CoverageTable(statistics.at("pattern_coverage"));
    }
    return section;
  });
}

}  // namespace dissonance
