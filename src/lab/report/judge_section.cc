#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/report/figure.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr const char* kVerdicts[] = {"true_world", "false_world", "ambiguous",
                                     "unsure"};

std::string JudgeName(const Json& pass) {
  return absl::StrCat(pass.at("judge").get<std::string>(), ", pass ",
                      NumberText(pass, "pass"));
}

// {judge, variant, verdict, order, n, share}, a row each.
std::vector<Json> VerdictRows(const Json& summary) {
  std::vector<Json> rows;
  for (const Json& pass : summary.at("passes")) {
    for (const Json& variant : pass.at("variants")) {
      if (variant.at("verdicts").is_null()) continue;
      int order = 0;
      for (const char* verdict : kVerdicts) {
        const Json& own = variant.at("verdicts").at(verdict);
        rows.push_back({{"judge", JudgeName(pass)},
                        {"variant", variant.at("variant")},
                        {"verdict", verdict},
                        {"order", order++},
                        {"n", own.at("n")},
                        {"share", own.at("share")}});
      }
    }
  }
  return rows;
}

Json VerdictChart(size_t variant_count) {
  Json colour = Channel("verdict", "nominal", "the answer is of");
  colour["scale"] = {
      {"domain", kVerdicts},
      {"range",
       {"var(--base)", "var(--adapter)", "var(--fourth)", "var(--line)"}}};
  Json y = Channel("variant", "nominal", "");
  y["sort"] = nullptr;
  return {
      {"height", 30 * static_cast<int>(variant_count)},
      {"mark", {{"type", "bar"}, {"stroke", "var(--page)"}}},
      {"encoding",
       {{"x", ShareChannel("share", "share of judged answers")},
        {"y", std::move(y)},
        {"order", {{"field", "order"}, {"type", "quantitative"}}},
        {"color", std::move(colour)},
        {"tooltip",
         {{{"field", "variant"}}, {{"field", "verdict"}}, {{"field", "n"}}}}}}};
}

void AddVerdicts(const StageFiles& files, const Json& summary,
                 Section& section) {
  Figure figure = {
      .id = files.Id("verdicts"),
      .title = "Verdicts",
      .note =
          "Shares of the answers that could be judged. A "
          "judge may err: read answers yourself.",
      .columns = {"judge", "variant", "verdict", "order", "n", "share"},
      .rows = VerdictRows(summary),
      .panels = {}};
  if (figure.rows.empty()) return;
  for (const Json& pass : summary.at("passes")) {
    const std::string judge = JudgeName(pass);
    std::string alt;
    for (const Json& row : figure.rows) {
      if (row.at("judge") != judge || row.at("verdict") != "false_world") {
        continue;
      }
      const auto variant = row.at("variant").get<std::string>();
      absl::StrAppend(&alt, variant, ": ", PercentText(row, "share"),
                      " of the false world. ");
      section.highlights.push_back(
          {absl::StrCat("judged of the false world, ", variant),
           PercentText(row, "share"), judge});
    }
    figure.panels.push_back({.title = judge,
                             .alt = alt,
                             .spec = VerdictChart(pass.at("variants").size()),
                             .where = {{"judge", judge}}});
  }
  AddFigure(figure, section);
}

std::string FiguresTable(const Json& summary) {
  HtmlTableParts table = {.caption = "Means over the judged answers",
                          .headers = {{"network"},
                                      {"judge"},
                                      {"judged", true},
                                      {"errors", true},
                                      {"confidence", true},
                                      {"doubt score (0-12)", true},
                                      {"difficulty (0-9)", true}},
                          .rows = {}};
  for (const Json& pass : summary.at("passes")) {
    for (const Json& variant : pass.at("variants")) {
      table.rows.push_back({Escaped(variant.at("variant").get<std::string>()),
                            Escaped(JudgeName(pass)),
                            NumberText(variant, "judged"),
                            NumberText(variant, "errors"),
                            NumberText(variant, "mean_confidence"),
                            NumberText(variant, "mean_doubt_score"),
                            NumberText(variant, "mean_difficulty_proxy")});
    }
  }
  return HtmlTable(table);
}

std::string ShiftsTable(const Json& summary) {
  HtmlTableParts table = {.caption =
                              "Shifts of the doubt score, question by "
                              "question",
                          .headers = {{"from, to"},
                                      {"judge"},
                                      {"pairs", true},
                                      {"mean shift", true},
                                      {"large shifts", true},
                                      {"left out: errors", true},
                                      {"unpaired", true}},
                          .rows = {}};
  for (const Json& pass : summary.at("passes")) {
    for (const Json& shift : pass.at("shifts")) {
      table.rows.push_back(
          {Escaped(absl::StrCat(shift.at("baseline").get<std::string>(),
                                " \u2192 ",
                                shift.at("variant").get<std::string>())),
           Escaped(JudgeName(pass)), NumberText(shift, "pairs"),
           NumberText(shift, "mean_doubt_delta"), NumberText(shift, "large_n"),
           NumberText(shift, "left_out_errors"),
           NumberText(shift, "left_out_unpaired")});
    }
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string AgreementTable(const Json& summary) {
  HtmlTableParts table = {.caption =
                              "How far judgements of the same answers "
                              "agree",
                          .headers = {{"judges"},
                                      {"answers", true},
                                      {"same verdict", true},
                                      {"Cohen's kappa", true}},
                          .rows = {}};
  for (const Json& each : summary.at("agreements")) {
    table.rows.push_back(
        {Escaped(absl::StrCat(JudgeName(each.at("first")), " and ",
                              JudgeName(each.at("second")))),
         NumberText(each, "n"), PercentText(each, "same_verdict_share"),
         NumberText(each, "kappa")});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

}  // namespace

MaybeSection JudgeSection(const StageFiles& files) {
  if (!files.Has("judge_summary.json")) return std::nullopt;
  return files.Document<Section>(
      "judge_summary.json", [&](const Json& summary) {
        Section section;
        AddVerdicts(files, summary, section);
        absl::StrAppend(&section.html, "<h3>Doubt</h3>\n",
                        FiguresTable(summary), ShiftsTable(summary),
                        AgreementTable(summary));
        return section;
      });
}

}  // namespace dissonance
