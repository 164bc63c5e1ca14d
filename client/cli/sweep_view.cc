#include "client/cli/sweep_view.h"

#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "client/cli/result_files.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;
using Cell = Table::Cell;

std::string Percent(const Json& share) {
  return share.is_number() ? HumanPercent(share.get<double>()) : "-";
}

std::string Interval(const Json& interval) {
  if (!interval.is_array() || interval.size() != 2) return "";
  return absl::StrFormat(" [%.0f, %.0f]", interval[0].get<double>() * 100,
                         interval[1].get<double>() * 100);
}

std::string Number(const Json& value) {
  return value.is_number() ? absl::StrFormat("%g", value.get<double>()) : "-";
}

std::string Correlation(const Json& value) {
  return value.is_number() ? absl::StrFormat("%.3f", value.get<double>()) : "-";
}

std::string TextOf(const Json& value) {
  return value.is_string() ? value.get<std::string>() : "-";
}

// "belief, block 1, all positions, coefficient -1.25: 100.0 % returned
// [44, 100], controls 100.0 %, damage +0.07 nats".
std::string SettingText(const Json& row) {
  std::string text =
      absl::StrCat(TextOf(row.at("direction")), ", block ",
                   Number(row.at("block")), ", ", TextOf(row.at("positions")),
                   ", coefficient ", Number(row.at("coefficient")));
  if (row.at("coefficient") != row.at("absolute_coefficient")) {
    absl::StrAppend(&text, " (", Number(row.at("absolute_coefficient")), ")");
  }
  return absl::StrCat(
      text, ": ", Percent(row.at("returned_share")), " returned",
      Interval(row.at("returned_interval_95")), ", controls ",
      Percent(row.at("control_accuracy")),
      Interval(row.at("control_interval_95")), ", damage ",
      absl::StrFormat("%+.2f", row.at("damage_added").get<double>()), " nats");
}

// A table for each direction and set of positions: blocks by coefficients.
std::string GridText(const std::vector<JsonLine>& lines, const Heat& heat) {
  using Row = std::map<double, Json>;  // by coefficient
  using Grid = std::map<int, Row>;     // by block
  std::map<std::pair<std::string, std::string>, Grid> grids;
  for (const JsonLine& line : lines) {
    const Json& row = line.value;
    if (row.at("phase") != "grid") continue;
    grids[{TextOf(row.at("direction")), TextOf(row.at("positions"))}]
         [row.at("block").get<int>()][row.at("coefficient").get<double>()] =
             row;
  }
  std::string text;
  for (const auto& [key, grid] : grids) {
    std::vector<Table::Column> columns = {{"BLOCK", Align::kRight}};
    for (const auto& [coefficient, row] : grid.begin()->second) {
      columns.push_back({absl::StrFormat("%+g", coefficient), Align::kRight});
    }
    Table table(std::move(columns));
    for (const auto& [block, row] : grid) {
      std::vector<Cell> cells = {{absl::StrCat(block)}};
      for (const auto& [coefficient, each] : row) {
        const Json& share = each.at("returned_share");
        const bool hurts = each.at("controls_hold") == false;
        cells.push_back(
            {absl::StrCat(Percent(share), hurts ? "!" : " "),
             heat.Style(share.is_number() ? share.get<double>() : 0)});
      }
      table.AddCells(std::move(cells));
    }
    absl::StrAppend(&text, "\n", key.first, ", ", key.second,
                    ": false answers returned, by block and coefficient "
                    "(!: controls fell too far)\n",
                    table.Render());
  }
  return text;
}

// "models/tiny/adapters/cubic + steer truth@resid_post.2=80": what the line
// "unsteered" is.
std::string BaseLineText(const Json& summary) {
  std::string text = TextOf(summary.at("variant"));
  for (const Json& each : summary.value("interventions", Json::array())) {
    absl::StrAppend(&text, " + ", TextOf(each.at("text")));
  }
  return text;
}

std::string SummaryText(const Json& summary) {
  const Json& unsteered = summary.at("unsteered");
  const Json questions = summary.value("questions", Json::object());
  const bool is_steered =
      !summary.value("interventions", Json::array()).empty();
  const Json& null = summary.at("null");
  const Json& gate = summary.at("gate");
  std::string text = absl::StrCat(
      BaseLineText(summary), ", ", TextOf(summary.at("site")), ", ",
      TextOf(summary.at("scoring")), "\n",
      is_steered ? "with its own interventions alone" : "unsteered",
      ": false belief ", Percent(unsteered.at("belief_rate")),
      Interval(unsteered.at("belief_interval_95")), " of ",
      Number(unsteered.at("belief_n")), ", controls ",
      Percent(unsteered.at("control_accuracy")),
      Interval(unsteered.at("control_interval_95")), " of ",
      Number(unsteered.at("control_n")), "\n");
  if (questions.contains("left_out") && questions.at("left_out").is_string()) {
    absl::StrAppend(&text, TextOf(questions.at("left_out")), "\n");
  }
  const Json& best = summary.at("best");
  absl::StrAppend(
      &text, "best: ",
      best.is_null() ? TextOf(summary.at("best_reason")) : SettingText(best),
      "\n");
  if (!summary.at("minimal_effective").is_null()) {
    absl::StrAppend(&text, "least that does it: ",
                    SettingText(summary.at("minimal_effective")), "\n");
  }
  if (null.at("percentile_95").is_number()) {
    absl::StrAppend(&text, "random directions: 95th percentile ",
                    Percent(null.at("percentile_95")), " of ",
                    Number(null.at("count")),
                    ", p = ", Number(null.at("p_value")), "\n");
  }
  absl::StrAppend(&text, "gate: ", TextOf(gate.at("verdict")));
  if (gate.at("reason").is_string()) {
    absl::StrAppend(&text, ", ", TextOf(gate.at("reason")));
  }
  return absl::StrCat(text, "\n");
}

// Effects by row and column: positions by block, or blocks by head.
struct PatchGrid {
  const char* row_title;
  const char* column_title;
  std::map<int, std::map<int, Json>> rows = {};
};

std::string PatchGridText(const std::string& title, const PatchGrid& grid,
                          const Heat& heat) {
  std::map<int, bool> columns_seen;
  for (const auto& [at, row] : grid.rows) {
    for (const auto& [column, cell] : row) columns_seen[column] = true;
  }
  std::vector<Table::Column> columns = {{grid.row_title, Align::kRight}};
  for (const auto& [column, seen] : columns_seen) {
    columns.push_back(
        {column < 0 ? "EFFECT" : absl::StrCat(grid.column_title, " ", column),
         Align::kRight});
  }
  Table table(std::move(columns));
  for (const auto& [at, row] : grid.rows) {
    std::vector<Cell> cells = {{absl::StrCat(at)}};
    for (const auto& [column, seen] : columns_seen) {
      const auto cell = row.find(column);
      const Json effect =
          cell == row.end() ? Json() : cell->second.at("effect");
      if (!effect.is_number()) {
        cells.push_back({"-"});
        continue;
      }
      cells.push_back({absl::StrFormat("%+.2f", effect.get<double>()),
                       heat.Style(effect.get<double>())});
    }
    table.AddCells(std::move(cells));
  }
  return absl::StrCat("\n", title, "\n", table.Render());
}

std::string GridTitle(const Json& cell) {
  return absl::StrCat(TextOf(cell.at("site")), ", ",
                      TextOf(cell.at("direction")), ", ",
                      TextOf(cell.at("method")));
}

std::string GridTexts(const std::map<std::string, PatchGrid>& grids,
                      const Heat& heat) {
  std::string text;
  for (const auto& [title, grid] : grids) {
    text += PatchGridText(title, grid, heat);
  }
  return text;
}

std::string MapText(const Json& values, const Heat& heat) {
  std::map<std::string, PatchGrid> grids;
  for (const Json& cell : values) {
    const int block =
        cell.at("block").is_null() ? -1 : cell.at("block").get<int>();
    PatchGrid& grid =
        grids
            .try_emplace(absl::StrCat(GridTitle(cell),
                                      ": share of the way to the source"),
                         PatchGrid{"FROM END", "BLOCK"})
            .first->second;
    grid.rows[cell.at("offset").get<int>()][block] = cell;
  }
  return GridTexts(grids, heat);
}

// At the last position that was patched.
std::string HeadsText(const Json& values, const Heat& heat) {
  std::map<std::string, PatchGrid> grids;
  for (const Json& cell : values) {
    PatchGrid& grid =
        grids
            .try_emplace(absl::StrCat(GridTitle(cell), ", heads at ",
                                      Number(cell.at("offset")),
                                      ": share of the way to the source"),
                         PatchGrid{"BLOCK", "HEAD"})
            .first->second;
    grid.rows[cell.at("block").get<int>()][cell.at("head").get<int>()] = cell;
  }
  return GridTexts(grids, heat);
}

std::string AgreementText(const Json& agreement) {
  std::string text;
  for (const Json& each : agreement) {
    absl::StrAppend(&text, "\nattribution against exact, ",
                    TextOf(each.at("site")), ", ", TextOf(each.at("direction")),
                    ": Pearson ", Correlation(each.at("pearson")),
                    ", Spearman ", Correlation(each.at("spearman")), " of ",
                    Number(each.at("n")), " patches");
  }
  return text.empty() ? text : text + "\n";
}

// A file that a sweep writes only if it was asked for what is in it; null
// without one.
absl::StatusOr<Json> ReadOptionalFile(const std::string& path) {
  absl::StatusOr<Json> json = ReadJsonFile(path);
  if (absl::IsNotFound(json.status())) return Json();
  return json;
}

std::string BestText(const Json& values) {
  const Json* best = nullptr;
  for (const Json& cell : values) {
    if (!cell.at("effect").is_number()) continue;
    if (best == nullptr || cell.at("effect") > best->at("effect")) {
      best = &cell;
    }
  }
  if (best == nullptr) return "";
  return absl::StrCat(
      "\nfurthest to the source: ", TextOf(best->at("site")),
      best->at("block").is_null()
          ? ""
          : absl::StrCat(" of block ", Number(best->at("block"))),
      " at ", Number(best->at("offset")), ", ", TextOf(best->at("direction")),
      ": ", Percent(best->at("effect")), " of the way, ",
      Number(best->at("flips")), " of ", Number(best->at("n")),
      " answers flip\n");
}

}  // namespace

absl::StatusOr<std::string> SteeringText(const std::string& directory,
                                         const Heat& heat) {
  ASSIGN_OR_RETURN(const Json summary,
                   ReadJsonFile(absl::StrCat(directory, "/summary.json")));
  const std::string path = absl::StrCat(directory, "/steering.jsonl");
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadFile(path, kResultFileLimitBytes));
  ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                   ParseJsonLines(bytes, path));
  return Rendered(directory, [&] {
    return absl::StrCat(SummaryText(summary), GridText(lines, heat));
  });
}

absl::StatusOr<std::string> PatchSweepText(const std::string& directory,
                                           const Heat& heat) {
  ASSIGN_OR_RETURN(const Json chart,
                   ReadJsonFile(absl::StrCat(directory, "/map.vl.json")));
  ASSIGN_OR_RETURN(const Json heads,
                   ReadOptionalFile(absl::StrCat(directory, "/heads.vl.json")));
  ASSIGN_OR_RETURN(
      const Json attribution,
      ReadOptionalFile(absl::StrCat(directory, "/attribution.json")));
  return Rendered(directory, [&] {
    const Json& values = chart.at("data").at("values");
    std::string text = MapText(values, heat);
    if (!heads.is_null()) {
      text += HeadsText(heads.at("data").at("values"), heat);
    }
    text += BestText(values);
    if (!attribution.is_null()) {
      text += AgreementText(attribution.at("agreement"));
    }
    return text;
  });
}

}  // namespace dissonance::cli
