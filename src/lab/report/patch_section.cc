#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "src/base/status_macros.h"
#include "src/lab/report/figure.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr int kCellHeight = 24;
// Wider maps have no room for numbers in their cells.
constexpr size_t kLabelledOffsets = 10;

// Each of the job's maps, which are told apart by three fields.
struct Map {
  std::string direction;
  std::string method;
  std::string site;

  bool operator==(const Map&) const = default;
  bool Holds(const Json& row) const {
    return row.at("direction") == direction && row.at("method") == method &&
           row.at("site") == site;
  }
};

Map MapOf(const Json& row) {
  return {row.at("direction").get<std::string>(),
          row.at("method").get<std::string>(),
          row.at("site").get<std::string>()};
}

Json PatchChart(size_t block_count, size_t offset_count) {
  Json x = Channel("offset", "ordinal",
                   "position from the end (-1: the decision token)");
  x["axis"] = {{"labelAngle", 0}, {"labelOverlap", true}};
  Json y = Channel("block", "ordinal", "block");
  y["sort"] = "descending";
  const Json effect = {{"field", "effect"}, {"type", "quantitative"}};
  Json colour = effect;
  colour["title"] = nullptr;
  colour["scale"] = {{"domain", {-1, 0, 1}},
                     {"clamp", true},
                     {"interpolate", "rgb"},
                     {"range", {"#8a4fae", "#ececea", "#00639c"}}};
  Json label = effect;
  label["format"] = ".2f";
  const Json label_colour = {{"condition",
                              {{"test",
                                {{"or",
                                  {{{"field", "effect"}, {"gt", 0.55}},
                                   {{"field", "effect"}, {"lt", -0.55}}}}}},
                               {"value", "#ffffff"}}},
                             {"value", "#1b1f23"}};
  Json layers = Json::array(
      {{{"mark", "rect"},
        {"encoding",
         {{"color", std::move(colour)},
          {"tooltip",
           {{{"field", "block"}},
            {{"field", "offset"}},
            {{"field", "effect"}, {"type", "quantitative"}, {"format", "+.3f"}},
            {{"field", "flips"}},
            {{"field", "n"}}}}}}}});
  if (offset_count <= kLabelledOffsets) {
    layers.push_back(
        {{"mark", {{"type", "text"}, {"fontSize", 10}}},
         {"encoding", {{"text", std::move(label)}, {"color", label_colour}}}});
  }
  return {{"height", kCellHeight * static_cast<int>(block_count)},
          {"encoding", {{"x", std::move(x)}, {"y", std::move(y)}}},
          {"layer", std::move(layers)}};
}

std::string MapTitle(const Map& map) {
  std::string title = absl::StrCat(
      map.site, ", ", absl::StrReplaceAll(map.direction, {{"_", " "}}));
  if (map.method != "exact") absl::StrAppend(&title, ", by ", map.method);
  return title;
}

const Json* Furthest(const std::vector<Json>& rows, const Map& map) {
  const Json* best = nullptr;
  for (const Json& row : rows) {
    if (!map.Holds(row) || !row.at("effect").is_number()) continue;
    if (best == nullptr ||
        row.at("effect").get<double>() > best->at("effect").get<double>()) {
      best = &row;
    }
  }
  return best;
}

std::string PlaceText(const Json& row) {
  return absl::StrCat("block ", NumberText(row, "block"), " at position ",
                      NumberText(row, "offset"));
}

// The earliest block that carries half of the way at the decision token: that
// the last ones do is so by construction.
void AddHighlight(const std::vector<Json>& rows, Section& section) {
  const Json* first = nullptr;
  for (const Json& row : rows) {
    if (row.at("site") != "resid_post" || row.at("method") != "exact" ||
        row.at("direction") != "source_to_target" ||
        !row.at("effect").is_number() || row.at("effect").get<double>() < 0.5) {
      continue;
    }
    if (first == nullptr ||
        row.at("block").get<int>() < first->at("block").get<int>()) {
      first = &row;
    }
  }
  if (first == nullptr) return;
  section.highlights.push_back(
      {"first patch that carries half of the answer over",
       absl::StrCat("block ", NumberText(*first, "block")),
       absl::StrCat("resid_post at position ", NumberText(*first, "offset"),
                    ": ", PercentText(*first, "effect"), " of the way")});
}

size_t CountOf(const std::vector<Json>& rows, const char* field) {
  std::vector<Json> values;
  for (const Json& row : rows) {
    if (!absl::c_linear_search(values, row.at(field))) {
      values.push_back(row.at(field));
    }
  }
  return values.size();
}

}  // namespace

MaybeSection PatchSection(const StageFiles& files) {
  // The chart's data are the map; its layout here is the page's own.
  if (!files.Has("map.vl.json")) return std::nullopt;
  return files.Document<Section>("map.vl.json", [&](const Json& chart) {
    Section section;
    Figure figure = {
        .id = files.Id("map"),
        .title = "Where patches carry the answer over",
        .note =
            "Share of the way from the target's logit difference of the "
            "true and the false answer to the source's, mean over "
            "questions; 1 carries all of it over. A row of the last "
            "block's resid_post at the decision token does so by "
            "construction: what tells is where the share rises.",
        .columns = {"direction", "method", "site", "block", "offset", "effect",
                    "effect_n", "delta_after", "flips", "n"},
        .rows = chart.at("data").at("values").get<std::vector<Json>>(),
        .panels = {}};
    std::vector<Map> maps;
    for (const Json& row : figure.rows) {
      const Map map = MapOf(row);
      if (!absl::c_linear_search(maps, map)) maps.push_back(map);
    }
    const size_t blocks = CountOf(figure.rows, "block");
    const size_t offsets = CountOf(figure.rows, "offset");
    for (const Map& map : maps) {
      const Json* best = Furthest(figure.rows, map);
      figure.panels.push_back(
          {.title = MapTitle(map),
           .alt =
               best == nullptr
                   ? "No effect could be measured."
                   : absl::StrCat("Furthest: ", PlaceText(*best), ", ",
                                  PercentText(*best, "effect"), " of the way."),
           .spec = PatchChart(blocks, offsets),
           .where = {{"direction", map.direction},
                     {"method", map.method},
                     {"site", map.site}}});
    }
    AddHighlight(figure.rows, section);
    AddFigure(figure, section);
    return section;
  });
}

}  // namespace dissonance
