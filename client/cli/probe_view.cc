#include "client/cli/probe_view.h"

#include <cstdint>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "client/cli/result_files.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

std::string Figure(const Json& value) {
  return value.is_number() ? absl::StrFormat("%.3f", value.get<double>()) : "-";
}

std::string TextOf(const Json& value) {
  return value.is_string() ? value.get<std::string>() : "-";
}

// The values of a field, each once, as they first come.
std::vector<std::string> ValuesOf(const std::vector<Json>& rows,
                                  const char* field) {
  std::vector<std::string> values;
  for (const Json& row : rows) {
    auto value = row.at(field).get<std::string>();
    if (!absl::c_linear_search(values, value)) {
      values.push_back(std::move(value));
    }
  }
  return values;
}

// A place, with its C where a job has several.
std::string PlaceOf(const Json& row, bool several_c) {
  std::string place = row.at("place").get<std::string>();
  if (several_c) {
    absl::StrAppend(&place, ", C ", row.at("c").get<double>());
  }
  return place;
}

std::string TargetTable(const std::vector<Json>& rows,
                        const std::vector<std::string>& variants) {
  const bool several_c = absl::c_any_of(
      rows, [&](const Json& row) { return row.at("c") != rows[0].at("c"); });
  std::vector<std::string> places;
  std::map<std::pair<std::string, std::string>, const Json*> cells;
  for (const Json& row : rows) {
    const std::string place = PlaceOf(row, several_c);
    if (!absl::c_linear_search(places, place)) places.push_back(place);
    cells[{place, row.at("variant").get<std::string>()}] = &row;
  }
  std::vector<Table::Column> columns = {{"PLACE"}};
  for (const std::string& variant : variants) {
    columns.push_back({variant, Align::kRight});
    for (const char* title : {"DUMMY", "P"}) {
      columns.push_back({title, Align::kRight});
    }
    columns.push_back({"VERDICT"});
  }
  Table table(std::move(columns));
  for (const std::string& place : places) {
    std::vector<std::string> cell = {place};
    for (const std::string& variant : variants) {
      const auto found = cells.find({place, variant});
      if (found == cells.end()) {
        cell.insert(cell.end(), 4, "-");
        continue;
      }
      const Json& row = *found->second;
      // Of ridge regression, which has none, the share of variance.
      const Json& auc = row.at("auc_mean");
      cell.push_back(Figure(auc.is_null() ? row.at("accuracy_mean") : auc));
      cell.push_back(Figure(row.at("dummy_auc_mean")));
      cell.push_back(Figure(row.at("p_value")));
      cell.push_back(TextOf(row.at("status")));
    }
    table.AddRow(std::move(cell));
  }
  return table.Render();
}

std::string GatesText(const Json& summary) {
  std::string text;
  for (const auto& [name, target] : summary.at("targets").items()) {
    if (!target.at("best").is_object()) continue;
    const Json& best = target.at("best");
    absl::StrAppend(&text, "\n", name, ": best ", Figure(best.at("auc_mean")),
                    " at ", TextOf(best.at("place")), " of ",
                    TextOf(best.at("variant")));
    if (best.contains("status") && best.at("status").is_string()) {
      absl::StrAppend(&text, " (", TextOf(best.at("status")), ", p ",
                      Figure(best.at("p_value")), ")");
    }
    for (const auto& [gate, figures] : target.at("gates").items()) {
      if (!figures.is_object()) continue;
      absl::StrAppend(&text, "; ", gate, " ", TextOf(figures.at("verdict")));
    }
  }
  for (const Json& skipped : summary.at("skipped")) {
    absl::StrAppend(&text, "\n", TextOf(skipped.at("target")), " of ",
                    TextOf(skipped.at("variant")),
                    " is left out: ", TextOf(skipped.at("reason")));
  }
  return text.empty() ? text : text + "\n";
}

// How rows are grouped; of a job of an older server nothing.
std::string RowsText(const Json& summary) {
  if (!summary.contains("rows")) return "";
  return absl::StrCat(TextOf(summary.at("rows").at("text")), "\n\n");
}

std::string TrajectoryTable(const Json& variants) {
  Table table({{"VARIANT"},
               {"LAYER"},
               {"MARGIN", Align::kRight},
               {"95 %", Align::kRight},
               {"FIRST", Align::kRight}});
  for (const auto& [name, variant] : variants.items()) {
    if (!variant.at("trajectory").is_array()) continue;
    for (const Json& row : variant.at("trajectory")) {
      const Json& block = row.at("block");
      table.AddRow(
          {name,
           block.is_null()
               ? "output"
               : absl::StrCat(block.get<int>(), ".", TextOf(row.at("site"))),
           absl::StrFormat("%+.3f", row.at("margin_mean").get<double>()),
           absl::StrCat("[", Figure(row.at("margin_low")), ", ",
                        Figure(row.at("margin_high")), "]"),
           HumanPercent(row.at("share_first").get<double>())});
    }
  }
  return table.Render();
}

}  // namespace

absl::StatusOr<std::vector<Json>> ProbeRows(absl::string_view text,
                                            absl::string_view where) {
  ASSIGN_OR_RETURN(std::vector<JsonLine> lines, ParseJsonLines(text, where));
  std::vector<Json> rows;
  for (JsonLine& line : lines) {
    for (const char* field :
         {"target", "variant", "place", "c", "auc_mean", "accuracy_mean",
          "dummy_auc_mean", "p_value", "status"}) {
      if (line.value.contains(field)) continue;
      return absl::DataLossError(absl::StrCat(
          where, ":", line.line_number, ": ", field,
          ": missing; is it the probes.jsonl of a train_probes job?"));
    }
    rows.push_back(std::move(line.value));
  }
  return rows;
}

std::string ProbeTables(const std::vector<Json>& rows) {
  std::string text;
  const std::vector<std::string> variants = ValuesOf(rows, "variant");
  for (const std::string& target : ValuesOf(rows, "target")) {
    std::vector<Json> own;
    for (const Json& row : rows) {
      if (row.at("target") == target) own.push_back(row);
    }
    absl::StrAppend(&text, text.empty() ? "" : "\n", target, "\n",
                    TargetTable(own, variants));
  }
  return text;
}

absl::StatusOr<std::string> ProbesText(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/probes.jsonl");
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(path, kResultFileLimitBytes));
  ASSIGN_OR_RETURN(const std::vector<Json> rows, ProbeRows(text, path));
  ASSIGN_OR_RETURN(const Json summary,
                   ReadJsonFile(absl::StrCat(directory, "/summary.json")));
  return Rendered(directory, [&] {
    return RowsText(summary) + ProbeTables(rows) + GatesText(summary);
  });
}

absl::StatusOr<std::string> LensSweepText(const std::string& directory) {
  ASSIGN_OR_RETURN(const Json read,
                   ReadJsonFile(absl::StrCat(directory, "/trajectories.json")));
  return Rendered(directory, [&] {
    const Json& variants = read.at("variants");
    std::string text = TrajectoryTable(variants);
    for (const auto& [name, variant] : variants.items()) {
      if (!variant.contains("breaking_block")) {
        absl::StrAppend(&text, "\n", name, ": ", TextOf(variant.at("reason")));
        continue;
      }
      const Json& breaking = variant.at("breaking_block");
      absl::StrAppend(&text, "\n", name, ", ", variant.at("prompts").get<int>(),
                      " prompts: the mean keeps its final sign from block ",
                      breaking.at("of_the_mean").get<int>(),
                      " on; of the prompts the median is ",
                      breaking.at("median").get<double>(), " (",
                      breaking.at("output_is").get<int>(),
                      ": at the output alone)");
    }
    return text + "\n";
  });
}

absl::StatusOr<std::string> ExtractionText(const std::string& directory) {
  ASSIGN_OR_RETURN(const Json manifest,
                   ReadJsonFile(absl::StrCat(directory, "/manifest.json")));
  Table table({{"FOLDER"},
               {"ROWS", Align::kRight},
               {"PLACES", Align::kRight},
               {"SHARDS", Align::kRight}});
  for (const Json& variant : manifest.value("variants", Json::array())) {
    const std::string folder =
        absl::StrCat(directory, "/", variant.value("folder", std::string()));
    ASSIGN_OR_RETURN(const Json own,
                     ReadJsonFile(absl::StrCat(folder, "/manifest.json")));
    table.AddRow({folder, absl::StrCat(own.value("row_count", int64_t{0})),
                  absl::StrCat(own.value("places", Json::array()).size()),
                  absl::StrCat(own.value("shards", Json::array()).size())});
  }
  return table.Render();
}

}  // namespace dissonance::cli
