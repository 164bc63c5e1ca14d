#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

// In words and with a sign: colour alone would not tell everyone.
std::string StatusHtml(const GateVerdict& gate) {
  struct Words {
    const char* css_class;
    const char* text;
  };
  const Words words =
      gate.status == GateStatus::kPass   ? Words{"pass", "\u2713 pass"}
      : gate.status == GateStatus::kWarn ? Words{"warn", "! warning"}
                                         : Words{"abort", "\u2717 abort"};
  return absl::StrCat("<span class=\"status ", words.css_class, "\">",
                      words.text, "</span>",
                      gate.is_forced ? " (went on, as asked)" : "");
}

// That it is not the whole experiment; empty where it is.
std::string EndingNote(const ReportRun& run) {
  if (run.ended_by.empty()) return "";
  return Paragraph(absl::StrCat("Ended by ", run.ended_by,
                                run.not_shown.empty() ? "" : "; not shown: ",
                                absl::StrJoin(run.not_shown, ", ")),
                   "note");
}

std::string FiguresText(const GateVerdict& gate) {
  std::vector<std::string> figures;
  for (const auto& [name, value] : gate.figures) {
    figures.push_back(absl::StrCat(name, " ", NumberText(value)));
  }
  return absl::StrJoin(figures, "; ");
}

}  // namespace

std::string GatesHtml(const ReportRun& run) {
  if (run.gates.empty()) return EndingNote(run);
  HtmlTableParts table = {
      .caption = "Criteria, and what was found",
      .headers = {{"criterion"}, {"stage"}, {"status"}, {"found"}, {"figures"}},
      .rows = {},
      .is_stacked = true};
  for (const GateVerdict& gate : run.gates) {
    table.rows.push_back(
        {Escaped(gate.gate), Escaped(gate.stage), StatusHtml(gate),
         absl::StrCat("<span class=\"wide\">", Escaped(gate.text), "</span>"),
         Escaped(FiguresText(gate))});
  }
  return absl::StrCat(EndingNote(run), HtmlTable(table));
}

}  // namespace dissonance
