#include <algorithm>
#include <set>
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

constexpr int kAucHeight = 180;
constexpr int kMapHeight = 190;
// Of a place, over all networks; and maps.
constexpr size_t kMostPoints = 2000;
constexpr size_t kMostMaps = 12;

// Values of a field, each once, in the order of the rows.
std::vector<std::string> Distinct(const std::vector<Json>& rows,
                                  const std::string& field) {
  std::vector<std::string> values;
  for (const Json& row : rows) {
    if (!row.at(field).is_string()) continue;
    auto value = row.at(field).get<std::string>();
    if (!absl::c_linear_search(values, value)) {
      values.push_back(std::move(value));
    }
  }
  return values;
}

// What the table and the charts take of a line of probes.jsonl.
Json ProbeRow(const Json& line) {
  Json row = Json::object();
  for (const char* field :
       {"target", "variant", "place", "site", "block", "auc_mean", "auc_low",
        "auc_high", "dummy_auc_mean", "p_value", "status", "n"}) {
    row[field] = line.at(field);
  }
  return row;
}

Json AucAxis(const char* field) {
  Json y = Channel(field, "quantitative", "AUC");
  y["scale"] = {{"domain", {0, 1}}};
  return y;
}

Json AucChart(const std::vector<std::string>& variants) {
  const Json x = CountChannel("block", "block");
  const Json colour = VariantColour(variants);
  Json band = {{"mark", {{"type", "area"}, {"opacity", 0.15}}},
               {"encoding",
                {{"x", x},
                 {"y", AucAxis("auc_low")},
                 {"y2", {{"field", "auc_high"}}},
                 {"color", colour}}}};
  Json dummy = {
      {"mark",
       {{"type", "line"}, {"strokeDash", {2, 3}}, {"strokeWidth", 1.5}}},
      {"encoding",
       {{"x", x}, {"y", AucAxis("dummy_auc_mean")}, {"color", colour}}}};
  Json line = {
      {"mark", {{"type", "line"}, {"strokeWidth", 2}}},
      {"encoding", {{"x", x}, {"y", AucAxis("auc_mean")}, {"color", colour}}}};
  Json point = {
      {"mark",
       {{"type", "point"}, {"filled", true}, {"size", 45}, {"opacity", 1}}},
      {"encoding",
       {{"x", x},
        {"y", AucAxis("auc_mean")},
        {"color", colour},
        {"shape", VariantShape(variants)},
        {"tooltip",
         {{{"field", "variant"}, {"title", "network"}},
          {{"field", "place"}},
          {{"field", "auc_mean"}, {"type", "quantitative"}, {"format", ".3f"}},
          {{"field", "dummy_auc_mean"},
           {"type", "quantitative"},
           {"format", ".3f"}},
          {{"field", "status"}}}}}}};
  return {{"height", kAucHeight},
          {"layer", Json::array({std::move(band), std::move(dummy),
                                 std::move(line), std::move(point)})}};
}

// The row with the greatest AUC of a target; null if there is none.
const Json* BestOf(const std::vector<Json>& rows, const std::string& target) {
  const Json* best = nullptr;
  for (const Json& row : rows) {
    if (row.at("target") != target || !row.at("auc_mean").is_number()) continue;
    if (best == nullptr ||
        row.at("auc_mean").get<double>() > best->at("auc_mean").get<double>()) {
      best = &row;
    }
  }
  return best;
}

std::string BestText(const Json& best) {
  return absl::StrCat(
      NumberText(best, "auc_mean"), " at ", best.at("place").get<std::string>(),
      " of ", best.at("variant").get<std::string>(), " (",
      best.at("status").is_string() ? best.at("status").get<std::string>()
                                    : "no verdict",
      ")");
}

void AddAuc(const StageFiles& files, const std::vector<Json>& rows,
            Section& section) {
  Figure figure = {
      .id = files.Id("auc"),
      .title = "AUC by layer",
      .note =
          "Cross-validated, with a bootstrap's 95 % interval; dotted: the "
          "same fits to shuffled labels. SIGNAL: more than 0.2 above them "
          "and p at most 0.05. LEAK?: both are high, so the labels can be "
          "told by something else.",
      .columns = {"target", "variant", "place", "block", "auc_mean", "auc_low",
                  "auc_high", "dummy_auc_mean", "p_value", "status", "n"},
      .rows = rows,
      .panels = {}};
  const std::vector<std::string> variants = Distinct(rows, "variant");
  figure.networks = variants;
  for (const std::string& target : Distinct(rows, "target")) {
    const Json* best = BestOf(rows, target);
    if (best == nullptr) continue;
    figure.panels.push_back({.title = target,
                             .alt = absl::StrCat("Best ", BestText(*best), "."),
                             .spec = AucChart(variants),
                             .where = {{"target", target}}});
    section.highlights.push_back(
        {absl::StrCat("best AUC, ", target), NumberText(*best, "auc_mean"),
         absl::StrCat(best->at("place").get<std::string>(), " of ",
                      best->at("variant").get<std::string>(), "; shuffled ",
                      NumberText(*best, "dummy_auc_mean"))});
  }
  if (!figure.panels.empty()) AddFigure(figure, section);
}

std::string VerdictsTable(const std::vector<Json>& rows) {
  HtmlTableParts table = {.caption = "Verdicts",
                          .headers = {{"target"},
                                      {"network"},
                                      {"place"},
                                      {"AUC", true},
                                      {"shuffled", true},
                                      {"p", true},
                                      {"verdict"}},
                          .rows = {}};
  for (const Json& row : rows) {
    table.rows.push_back(
        {CellText(row.at("target")), CellText(row.at("variant")),
         CellText(row.at("place")), NumberText(row, "auc_mean"),
         NumberText(row, "dummy_auc_mean"), NumberText(row, "p_value"),
         CellText(row.at("status"))});
  }
  return HtmlTable(table);
}

std::string SkippedText(const Json& summary) {
  std::string html;
  for (const Json& each : summary.at("skipped")) {
    html += Paragraph(
        absl::StrCat(each.at("target").get<std::string>(), " of ",
                     each.at("variant").get<std::string>(),
                     " is left out: ", each.at("reason").get<std::string>()),
        "note");
  }
  return absl::StrCat(
      Paragraph(absl::StrCat(
          summary.at("rows").at("text").get<std::string>(),
          "; rows of one group never straddle folds. With few groups p can't "
          "be small, whatever the network knows.")),
      html);
}

struct Map {
  std::vector<Json> rows;
  size_t place_stride = 1;
  size_t point_stride = 1;
};

// `label` is the field that tells classes apart.
Json PointRow(const Json& line, const std::string& label) {
  return {{"place", line.at("place")},
          {"variant", line.at("variant")},
          {"id", line.at("id")},
          {"class", line.contains(label) ? line.at(label) : Json()},
          {"pc1", Rounded(line.at("pc1").get<double>())},
          {"pc2", line.contains("pc2") ? Rounded(line.at("pc2").get<double>())
                                       : Json(0)}};
}

// Of places and of a place's points some, spread evenly. Places are told one
// after another, each with as many points. By the first target alone, so that a
// point has one class.
absl::StatusOr<Map> ReadMap(const StageFiles& files,
                            const std::string& target) {
  std::set<std::string> places;
  size_t count = 0;
  RETURN_IF_ERROR(files.EachLine("pca.jsonl", [&](const Json& line) {
    places.insert(line.at("place").get<std::string>());
    ++count;
  }));
  Map map;
  if (count == 0) return map;
  const size_t points = count / places.size();
  map.place_stride = Stride(places.size(), kMostMaps);
  map.point_stride = Stride(points, kMostPoints);
  const std::string label = absl::StrCat("class_", target);
  size_t next = 0;
  RETURN_IF_ERROR(files.EachLine("pca.jsonl", [&](const Json& line) {
    const size_t i = next++;
    if (i / points % map.place_stride == 0 &&
        i % points % map.point_stride == 0) {
      map.rows.push_back(PointRow(line, label));
    }
  }));
  return map;
}

Json MapChart(const std::vector<std::string>& variants) {
  // The first class is filled, others are hollow.
  Json filled = {{"condition", VariantColour(variants)},
                 {"value", "transparent"}};
  filled["condition"]["test"] = "datum.is_first_class";
  const auto axis = [](const char* field, const char* title) {
    Json channel = Channel(field, "quantitative", title);
    channel["scale"] = {{"zero", false}};
    channel["axis"] = {{"tickCount", 4}};
    return channel;
  };
  return {{"height", kMapHeight},
          {"mark",
           {{"type", "point"},
            {"size", 16},
            {"strokeWidth", 0.8},
            {"opacity", 0.6}}},
          {"encoding",
           {{"x", axis("pc1", "first component")},
            {"y", axis("pc2", "second component")},
            {"stroke", VariantColour(variants)},
            {"fill", std::move(filled)},
            {"shape", VariantShape(variants)},
            {"tooltip",
             {{{"field", "id"}},
              {{"field", "variant"}, {"title", "network"}},
              {{"field", "class"}}}}}}};
}

std::string VarianceText(const Json& variances, const std::string& place) {
  if (!variances.contains(place)) return "";
  const Json& shares = variances.at(place).at("variance_shares");
  double sum = 0;
  for (size_t i = 0; i < shares.size() && i < 2; ++i) {
    sum += shares.at(i).get<double>();
  }
  return absl::StrCat("The two components hold ", PercentText(sum),
                      " of the variance.");
}

void AddMap(const StageFiles& files, Map map, const std::string& target,
            const Json& variances, Section& section) {
  const std::vector<std::string> variants = Distinct(map.rows, "variant");
  std::vector<std::string> classes = Distinct(map.rows, "class");
  if (classes.empty()) return;
  Figure figure = {
      .id = files.Id("pca"),
      .title = "Principal components",
      .note = absl::StrCat("Of all networks' rows together, a map for each "
                           "place. Filled: ",
                           classes.front(), " of ", target,
                           "; hollow: the other classes.",
                           StrideNote(map.place_stride, "place"),
                           StrideNote(map.point_stride, "point")),
      .networks = variants,
      .columns = {"place", "variant", "id", "class", "is_first_class", "pc1",
                  "pc2"},
      .rows = std::move(map.rows),
      .panels = {}};
  for (Json& row : figure.rows) {
    row["is_first_class"] = row.at("class") == classes.front();
  }
  for (const std::string& place : Distinct(figure.rows, "place")) {
    figure.panels.push_back({.title = place,
                             .alt = VarianceText(variances, place),
                             .spec = MapChart(variants),
                             .where = {{"place", place}}});
  }
  AddFigure(figure, section);
}

}  // namespace

MaybeSection ProbesSection(const StageFiles& files) {
  if (!files.Has("probes.jsonl")) return std::nullopt;
  Section section;
  if (files.Has("summary.json")) {
    ASSIGN_OR_RETURN(section.html,
                     files.Document<std::string>("summary.json", SkippedText));
  }
  std::vector<Json> probes;
  RETURN_IF_ERROR(files.EachLine("probes.jsonl", [&](const Json& line) {
    probes.push_back(ProbeRow(line));
  }));
  AddAuc(files, probes, section);
  section.html += Details("Verdicts of all probes", VerdictsTable(probes));
  const std::vector<std::string> targets = Distinct(probes, "target");
  if (!files.Has("pca.jsonl") || !files.Has("pca.json") || targets.empty()) {
    return section;
  }
  ASSIGN_OR_RETURN(Map map, ReadMap(files, targets.front()));
  return files.Document<Section>("pca.json", [&](const Json& variances) {
    AddMap(files, std::move(map), targets.front(), variances, section);
    return section;
  });
}

}  // namespace dissonance
