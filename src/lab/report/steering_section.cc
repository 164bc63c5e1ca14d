#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/report/figure.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr int kCellHeight = 30;
constexpr int kNullHeight = 150;

// What the grid's heat maps show.
struct Shown {
  const char* field;
  const char* title;
  const char* colour;  // of 1; 0 is the page's
};
constexpr Shown kShown[] = {
    {"returned_share", "false answers returned", "#00588a"},
    {"control_accuracy", "control accuracy", "#00664b"},
};

std::string SettingText(const Json& row) {
  if (row.is_null()) return "none";
  return absl::StrCat(row.at("direction").get<std::string>(), ", block ",
                      NumberText(row, "block"), ", ",
                      row.at("positions").get<std::string>(), ", coefficient ",
                      NumberText(row, "coefficient"));
}

Json GridRow(const Json& line) {
  Json row = line;
  for (const char* stem : {"returned", "control"}) {
    const Json& interval = line.at(absl::StrCat(stem, "_interval_95"));
    row[absl::StrCat(stem, "_low")] =
        interval.is_null() ? Json() : interval.at(0);
    row[absl::StrCat(stem, "_high")] =
        interval.is_null() ? Json() : interval.at(1);
  }
  return row;
}

Json GridChart(const Shown& shown, size_t block_count) {
  Json x = Channel("coefficient", "ordinal", "coefficient");
  x["axis"] = {{"labelAngle", 0}};
  Json y = Channel("block", "ordinal", "block");
  y["sort"] = "descending";
  const Json value = {{"field", shown.field}, {"type", "quantitative"}};
  Json colour = value;
  colour["title"] = nullptr;
  colour["legend"] = {{"format", ".0%"}};
  colour["scale"] = {{"domain", {0, 1}},
                     {"interpolate", "rgb"},
                     {"range", {"#eef0f2", shown.colour}}};
  Json label = value;
  label["format"] = ".0%";
  const Json label_colour = {
      {"condition",
       {{"test", {{"field", shown.field}, {"gt", 0.5}}}, {"value", "#ffffff"}}},
      {"value", "#1b1f23"}};
  Json tooltip = Json::array(
      {{{"field", "block"}},
       {{"field", "coefficient"}},
       {{"field", "absolute_coefficient"}},
       {{"field", shown.field}, {"type", "quantitative"}, {"format", ".1%"}},
       {{"field", "controls_hold"}},
       {{"field", "damage_added"}}});
  return {
      {"height", kCellHeight * static_cast<int>(block_count)},
      {"encoding", {{"x", std::move(x)}, {"y", std::move(y)}}},
      {"layer",
       Json::array(
           {{{"mark", "rect"},
             {"encoding",
              {{"color", std::move(colour)}, {"tooltip", std::move(tooltip)}}}},
            {{"mark", {{"type", "text"}, {"fontSize", 10}}},
             {"encoding",
              {{"text", std::move(label)}, {"color", label_colour}}}}})}};
}

// A grid row for each direction and set of positions.
std::vector<Json> Grids(const std::vector<Json>& rows) {
  std::vector<Json> firsts;
  for (const Json& row : rows) {
    if (row.at("phase") != "grid") continue;
    const bool known = absl::c_any_of(firsts, [&](const Json& first) {
      return first.at("direction") == row.at("direction") &&
             first.at("positions") == row.at("positions");
    });
    if (!known) firsts.push_back(row);
  }
  return firsts;
}

size_t BlockCount(const std::vector<Json>& rows) {
  std::vector<Json> blocks;
  for (const Json& row : rows) {
    if (row.at("phase") == "grid" &&
        !absl::c_linear_search(blocks, row.at("block"))) {
      blocks.push_back(row.at("block"));
    }
  }
  return blocks.size();
}

void AddGrid(const StageFiles& files, std::vector<Json> rows,
             const Json& summary, Section& section) {
  const size_t blocks = BlockCount(rows);
  const std::string unit =
      summary.at("relative_coefficients").get<bool>()
          ? "Coefficients are multiples of the mean length of the block's "
            "unsteered rows. "
          : "";
  Figure figure = {
      .id = files.Id("grid"),
      .title = "What each setting returns, and at what price",
      .note = absl::StrCat(
          unit,
          "Returned: of the questions that the unsteered network answers "
          "falsely, those answered truly. Controls are questions that are no "
          "conflict."),
      .columns = {"phase", "direction", "positions", "block", "coefficient",
                  "absolute_coefficient", "returned_share", "returned_low",
                  "returned_high", "returned_n", "belief_rate", "belief_n",
                  "control_accuracy", "control_low", "control_high",
                  "control_n", "controls_hold", "damage_added"},
      .rows = std::move(rows),
      .panels = {}};
  const std::vector<Json> grids = Grids(figure.rows);
  for (const Json& first : grids) {
    for (const Shown& shown : kShown) {
      std::string title = shown.title;
      if (grids.size() > 1) {
        absl::StrAppend(&title, ", ", first.at("direction").get<std::string>(),
                        ", ", first.at("positions").get<std::string>());
      }
      const Json& best = summary.at("best");
      figure.panels.push_back(
          {.title = title,
           .alt = best.is_null()
                      ? "No setting returns an answer with controls that hold."
                      : absl::StrCat("Best setting: ", SettingText(best), ": ",
                                     PercentText(best, shown.field), "."),
           .spec = GridChart(shown, blocks),
           .where = {{"phase", "grid"},
                     {"direction", first.at("direction")},
                     {"positions", first.at("positions")}}});
    }
  }
  AddFigure(figure, section);
}

std::string ChosenTable(const Json& summary) {
  HtmlTableParts table = {.caption = "Unsteered, best and least setting",
                          .headers = {{"setting"},
                                      {"false belief", true},
                                      {"returned", true},
                                      {"controls", true},
                                      {"damage added, nats", true}},
                          .rows = {}};
  const auto add = [&](const std::string& name, const Json& row) {
    if (row.is_null()) {
      table.rows.push_back({Escaped(name), "-", "-", "-", "-"});
      return;
    }
    table.rows.push_back({Escaped(name), PercentText(row, "belief_rate"),
                          PercentText(row, "returned_share"),
                          PercentText(row, "control_accuracy"),
                          NumberText(row, "damage_added")});
  };
  add("unsteered", summary.at("unsteered"));
  add(absl::StrCat("best: ", SettingText(summary.at("best"))),
      summary.at("best"));
  add(absl::StrCat("least that does it: ",
                   SettingText(summary.at("minimal_effective"))),
      summary.at("minimal_effective"));
  const Json& gate = summary.at("gate");
  std::string text =
      absl::StrCat("Causal criterion: ", gate.at("verdict").get<std::string>());
  if (gate.at("reason").is_string()) {
    absl::StrAppend(&text, ", ", gate.at("reason").get<std::string>());
  }
  return absl::StrCat(HtmlTable(table), Paragraph(absl::StrCat(text, ".")));
}

void AddHighlights(const Json& summary, Section& section) {
  const Json& best = summary.at("best");
  section.highlights.push_back(
      {"false answers that the best steering returns",
       best.is_null() ? "none" : PercentText(best, "returned_share"),
       best.is_null() ? ""
                      : absl::StrCat(SettingText(best), "; controls ",
                                     PercentText(best, "control_accuracy"))});
}

Json NullChart(const Json& best, const Json& percentile) {
  Json x = ShareChannel("returned_share", "share of false answers returned");
  x["bin"] = {{"step", 0.05}, {"extent", {0, 1}}};
  x["axis"]["values"] = {0, 0.2, 0.4, 0.6, 0.8, 1};
  Json layers =
      Json::array({{{"mark", {{"type", "bar"}, {"color", "var(--soft)"}}},
                    {"encoding",
                     {{"x", std::move(x)},
                      {"y",
                       {{"aggregate", "count"},
                        {"type", "quantitative"},
                        {"title", "random directions"},
                        {"axis", {{"tickMinStep", 1}}}}}}}}});
  const auto rule = [&](const Json& at, const char* name, const char* colour,
                        Json dash) {
    if (!at.is_number()) return;
    const Json x_at = {{"datum", at}, {"type", "quantitative"}};
    const bool is_right = at.get<double>() > 0.5;
    layers.push_back(Once({{"mark",
                            {{"type", "rule"},
                             {"color", colour},
                             {"strokeWidth", 2},
                             {"strokeDash", std::move(dash)}}},
                           {"encoding", {{"x", x_at}}}}));
    layers.push_back(Once({{"mark",
                            {{"type", "text"},
                             {"text", name},
                             {"color", colour},
                             {"align", is_right ? "right" : "left"},
                             {"dx", is_right ? -5 : 5},
                             {"baseline", "top"},
                             {"y", 2}}},
                           {"encoding", {{"x", x_at}}}}));
  };
  rule(percentile, "95th percentile", "var(--ink)", Json::array({4, 3}));
  rule(best, "best setting", "var(--third)", Json::array({1, 0}));
  return {{"height", kNullHeight}, {"layer", std::move(layers)}};
}

void AddNull(const StageFiles& files, const Json& chart, const Json& summary,
             Section& section) {
  Figure figure = {
      .id = files.Id("null"),
      .title = "Random directions against the best setting",
      .note =
          "As long as the best setting's, at its place. A random vector "
          "can undo a shallow belief too, so an effect counts only beyond "
          "them.",
      .columns = {"direction", "block", "positions", "coefficient",
                  "returned_share", "returned_n", "control_accuracy",
                  "control_n"},
      .rows = chart.at("data").at("values").get<std::vector<Json>>(),
      .panels = {}};
  if (figure.rows.empty()) return;
  const Json& null = summary.at("null");
  const Json best = summary.at("best").is_null()
                        ? Json()
                        : summary.at("best").at("returned_share");
  figure.panels.push_back(
      {.title = "",
       .alt = absl::StrCat(
           "95th percentile of ", figure.rows.size(),
           " random directions: ", PercentText(null, "percentile_95"),
           "; p of the best setting: ", NumberText(null, "p_value"), "."),
       .spec = NullChart(best, null.at("percentile_95"))});
  AddFigure(figure, section);
}

}  // namespace

MaybeSection SteeringSection(const StageFiles& files) {
  if (!files.Has("summary.json") || !files.Has("steering.jsonl")) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(const Json summary,
                   files.Document<Json>("summary.json",
                                        [](const Json& read) { return read; }));
  std::vector<Json> rows;
  RETURN_IF_ERROR(files.EachLine("steering.jsonl", [&](const Json& line) {
    rows.push_back(GridRow(line));
  }));
  Section section;
  ASSIGN_OR_RETURN(
      section, files.Document<Section>("summary.json", [&](const Json& read) {
        section.html += ChosenTable(read);
        AddHighlights(read, section);
        AddGrid(files, std::move(rows), read, section);
        return section;
      }));
  if (files.Has("null.vl.json")) {
    ASSIGN_OR_RETURN(section, files.Document<Section>(
                                  "null.vl.json", [&](const Json& chart) {
                                    AddNull(files, chart, summary, section);
                                    return section;
                                  }));
  }
  ASSIGN_OR_RETURN(const std::string samples, SamplesHtml(files));
  section.html += samples;
  return section;
}

}  // namespace dissonance
