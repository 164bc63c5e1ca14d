// Two experiments on one page.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/files/json_document.h"
#include "src/lab/report/html.h"
#include "src/lab/report/page.h"
#include "src/lab/report/report_stage.h"
#include "src/lab/report/sections.h"
#include "src/lab/report/stage_sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr const char* kNames[] = {"first", "second"};

// A run with what it tells.
struct Side {
  const ReportRun& run;
  std::vector<Section> sections;
};

// Sections of both runs by the name of their stage, which is what the ids
// share.
std::string StageOfId(const Section& section, size_t side) {
  return section.id.substr(std::string(kNames[side]).size() + 1);
}

std::string Heading(const Side& side, size_t index) {
  return absl::StrCat(kNames[index], ": ", TitleOf(side.run));
}

// Main figures that share a label stand side by side.
std::string FiguresTable(const std::vector<Side>& sides) {
  HtmlTableParts table = {.caption = "Main figures",
                          .headers = {{"figure"}, {"first"}, {"second"}},
                          .rows = {}};
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (size_t s = 0; s < sides.size(); ++s) {
    for (const Section& section : sides[s].sections) {
      for (const Highlight& highlight : section.highlights) {
        const auto [at, added] =
            places.emplace(std::pair(StageOfId(section, s), highlight.label),
                           table.rows.size());
        if (added) {
          table.rows.push_back({Escaped(highlight.label), "-", "-"});
        }
        table.rows[at->second][s + 1] = Escaped(
            highlight.detail.empty()
                ? highlight.value
                : absl::StrCat(highlight.value, " (", highlight.detail, ")"));
      }
    }
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

// Everything that a stage was asked and computed by, one value a path.
std::map<std::string, std::string> ConditionsOf(const ReportRun& run) {
  std::map<std::string, std::string> conditions;
  for (const ReportStage& stage : run.stages) {
    Json json = {{"settings", SettingsJson(stage)},
                 {"code_version", stage.code_version},
                 {"provenance", Json::array()},
                 {"inputs", Json::object()}};
    for (const v1::Provenance& each : stage.provenance) {
      json["provenance"].push_back(ProvenanceJson(each));
    }
    for (const v1::JobInput& input : stage.inputs) {
      json["inputs"][input.field()] = input.digest();
    }
    const Json flat = json.flatten();
    for (const auto& [path, value] : flat.items()) {
      conditions[absl::StrCat(stage.name, path)] =
          value.is_string() ? value.get<std::string>() : value.dump();
    }
  }
  return conditions;
}

std::string DifferencesTable(const ReportRun& first, const ReportRun& second) {
  const auto a = ConditionsOf(first);
  const auto b = ConditionsOf(second);
  std::set<std::string> paths;
  for (const auto& [path, value] : a) paths.insert(path);
  for (const auto& [path, value] : b) paths.insert(path);
  HtmlTableParts table = {.caption =
                              "What the two were asked and computed by, "
                              "where it differs",
                          .headers = {{"what"}, {"first"}, {"second"}},
                          .rows = {}};
  const auto value_of = [](const auto& conditions, const std::string& path) {
    const auto found = conditions.find(path);
    return found == conditions.end() ? std::string("-") : Code(found->second);
  };
  for (const std::string& path : paths) {
    const std::string one = value_of(a, path);
    const std::string other = value_of(b, path);
    if (one != other) table.rows.push_back({Code(path), one, other});
  }
  return table.rows.empty()
             ? Paragraph("Both were asked the same and computed by the same.")
             : HtmlTable(table);
}

Section SummaryOf(const std::vector<Side>& sides) {
  Section summary = {.id = "summary", .title = "Summary"};
  for (size_t s = 0; s < sides.size(); ++s) {
    summary.html += Paragraph(Heading(sides[s], s));
  }
  summary.html += FiguresTable(sides);
  for (size_t s = 0; s < sides.size(); ++s) {
    const std::string gates = GatesHtml(sides[s].run);
    if (gates.empty()) continue;
    absl::StrAppend(&summary.html, "<h3>Criteria, ",
                    Escaped(Heading(sides[s], s)), "</h3>\n", gates);
  }
  absl::StrAppend(&summary.html, "<h3>What differs</h3>\n",
                  DifferencesTable(sides[0].run, sides[1].run));
  return summary;
}

// The stage of both runs next to each other, or the one that has it.
std::vector<Section> Paired(std::vector<Side>& sides) {
  std::vector<Section> pairs;
  std::map<std::string, size_t> places;
  for (size_t s = 0; s < sides.size(); ++s) {
    for (Section& section : sides[s].sections) {
      const std::string stage = StageOfId(section, s);
      const auto [at, added] = places.emplace(stage, pairs.size());
      if (added) pairs.push_back({.id = stage, .title = section.title});
      Section& pair = pairs[at->second];
      absl::StrAppend(&pair.html, "<div><p class=\"panel-title\">",
                      Escaped(Heading(sides[s], s)), "</p>\n", section.html,
                      "</div>\n");
      std::move(section.files.begin(), section.files.end(),
                std::back_inserter(pair.files));
    }
  }
  for (Section& pair : pairs) {
    pair.html = absl::StrCat("<div class=\"pair\">", pair.html, "</div>\n");
  }
  return pairs;
}

}  // namespace

absl::StatusOr<std::vector<JobFile>> MakeComparison(const ReportRun& first,
                                                    const ReportRun& second) {
  std::vector<Side> sides = {{first, {}}, {second, {}}};
  for (size_t s = 0; s < sides.size(); ++s) {
    absl::StatusOr<std::vector<Section>> sections =
        StageSections(sides[s].run, absl::StrCat(kNames[s], "."));
    RETURN_IF_ERROR(Annotate(sections.status(), kNames[s]));
    sides[s].sections = *std::move(sections);
  }
  const std::string title = TitleOf(first);
  const std::string other = TitleOf(second);
  PageParts page = {.title = title == other
                                 ? absl::StrCat(title, ", twice")
                                 : absl::StrCat(title, " and ", other),
                    .kind = "Two experiments side by side",
                    .sections = {},
                    .is_comparison = true};
  page.sections.push_back(SummaryOf(sides));
  std::vector<JobFile> files(1);
  for (Section& section : Paired(sides)) {
    std::move(section.files.begin(), section.files.end(),
              std::back_inserter(files));
    page.sections.push_back(std::move(section));
  }
  for (size_t s = 0; s < sides.size(); ++s) {
    Section provenance =
        ProvenanceSection(sides[s].run, absl::StrCat("provenance-", kNames[s]));
    provenance.title = absl::StrCat("Provenance, ", kNames[s]);
    page.sections.push_back(std::move(provenance));
  }
  files.front() = {kReportFileName, PageHtml(page)};
  return files;
}

}  // namespace dissonance
