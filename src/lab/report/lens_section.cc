#include <algorithm>
#include <cmath>
#include <map>
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

constexpr int kHeight = 240;
// Of the heat map: more questions than it has pixels show nothing more.
constexpr size_t kMostQuestions = 400;
constexpr int kMostHeight = 460;
constexpr int kQuestionHeight = 14;
// Above so many the questions' names can't be read.
constexpr size_t kNamedQuestions = 30;

struct Trajectories {
  std::vector<std::string> variants;
  std::vector<Json> rows;
  std::map<std::string, Json> breaking;  // layer of the mean, or null
  int64_t output = 0;                    // the layer of the model's output
};

std::string LayerName(const Json& row) {
  return row.at("block").is_null()
             ? "output"
             : absl::StrCat(row.at("block").get<int64_t>(), ".",
                            row.at("site").get<std::string>());
}

// "base" first: the file has its networks by name.
void PutBaseFirst(std::vector<std::string>& names) {
  std::stable_partition(names.begin(), names.end(),
                        [](const std::string& name) { return name == "base"; });
}

Trajectories ReadTrajectories(const Json& file) {
  Trajectories read;
  for (const auto& [name, variant] : file.at("variants").items()) {
    read.variants.push_back(name);
  }
  PutBaseFirst(read.variants);
  for (const std::string& name : read.variants) {
    const Json& variant = file.at("variants").at(name);
    const Json& breaking = variant.at("breaking_block");
    read.breaking[name] = breaking.at("of_the_mean");
    for (const Json& point : variant.at("trajectory")) {
      Json row = point;
      row["variant"] = name;
      row["layer_name"] = LayerName(point);
      row["breaking"] = row.at("block").is_null()
                            ? breaking.at("output_is") == read.breaking[name]
                            : row.at("block") == read.breaking[name];
      read.output = std::max(read.output, row.at("layer").get<int64_t>());
      read.rows.push_back(std::move(row));
    }
  }
  return read;
}

Json TrajectoryChart(const Trajectories& trajectories) {
  const Json x = CountChannel("layer", "layer (the last: the output)");
  const Json colour = VariantColour(trajectories.variants);
  const auto y = [](const char* field) {
    return Channel(field, "quantitative", "margin, logits (true - false)");
  };
  Json band = {{"mark", {{"type", "area"}, {"opacity", 0.18}}},
               {"encoding",
                {{"x", x},
                 {"y", y("margin_low")},
                 {"y2", {{"field", "margin_high"}}},
                 {"color", colour}}}};
  Json line = {
      {"mark", {{"type", "line"}}},
      {"encoding", {{"x", x}, {"y", y("margin_mean")}, {"color", colour}}}};
  Json point = {
      {"mark",
       {{"type", "point"}, {"filled", true}, {"size", 45}, {"opacity", 1}}},
      {"encoding",
       {{"x", x},
        {"y", y("margin_mean")},
        {"color", colour},
        {"shape", VariantShape(trajectories.variants)},
        {"tooltip",
         {{{"field", "variant"}, {"title", "network"}},
          {{"field", "layer_name"}, {"title", "layer"}},
          {{"field", "margin_mean"},
           {"type", "quantitative"},
           {"format", "+.2f"}},
          {{"field", "share_first"},
           {"type", "quantitative"},
           {"format", ".1%"}}}}}}};
  Json breaking = {
      {"transform", Json::array({{{"filter", "datum.breaking"}}})},
      {"mark",
       {{"type", "point"},
        {"size", 190},
        {"strokeWidth", 1.5},
        {"shape", "circle"},
        {"filled", false},
        {"opacity", 1}}},
      {"encoding", {{"x", x}, {"y", y("margin_mean")}, {"color", colour}}}};
  Json zero = Once({{"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}}},
                    {"encoding", {{"y", {{"datum", 0}}}}}});
  return {
      {"height", kHeight},
      {"layer", Json::array({std::move(zero), std::move(band), std::move(line),
                             std::move(point), std::move(breaking)})}};
}

void AddTrajectories(const StageFiles& files, const Trajectories& trajectories,
                     Section& section) {
  Figure figure = {
      .id = files.Id("trajectories"),
      .title = "The margin, layer by layer",
      .note =
          "The logit of the true answer's first token less that of the "
          "false one's, read with the final norm and the unembedding; mean "
          "over the questions, band: Student's 95 % interval. Ringed: the "
          "breaking block, from which on the mean keeps its final sign.",
      .networks = trajectories.variants,
      .columns = {"variant", "layer", "layer_name", "n", "margin_mean",
                  "margin_low", "margin_high", "share_first", "breaking"},
      .rows = trajectories.rows,
      .panels = {}};
  std::string alt;
  for (const std::string& name : trajectories.variants) {
    const Json& breaking = trajectories.breaking.at(name);
    const std::string block =
        breaking.is_number() ? NumberText(breaking.get<double>()) : "none";
    std::string last = "-";
    for (const Json& row : trajectories.rows) {
      if (row.at("variant") == name && row.at("margin_mean").is_number()) {
        last = SignedText(row.at("margin_mean").get<double>());
      }
    }
    absl::StrAppend(&alt, name, ": breaking block ", block, ", margin ", last,
                    " at the output. ");
    section.highlights.push_back(
        {absl::StrCat("margin at the output, ", name), last,
         absl::StrCat("keeps its sign from block ", block, " on")});
  }
  figure.panels.push_back(
      {.title = "", .alt = alt, .spec = TrajectoryChart(trajectories)});
  AddFigure(figure, section);
}

// The margin at each layer, of each question that has margins, at the last
// position that was read; by network and question.
using Margins =
    std::map<std::pair<std::string, std::string>, std::vector<double>>;

void AddLine(const Json& line, Margins& margins) {
  std::vector<double> read;
  for (const Json& layer : line.at("layers")) {
    const Json& margin = layer.at("margin");
    if (!margin.is_number()) break;
    read.push_back(margin.get<double>());
  }
  margins[{line.at("variant").get<std::string>(),
           line.at("id").get<std::string>()}] = std::move(read);
}

// Places of the questions from the greatest margin at the output to the
// smallest, in the last network: that shows which changed sides.
std::map<std::string, size_t> OrderOf(const Trajectories& trajectories,
                                      const Margins& margins) {
  const auto output = static_cast<size_t>(trajectories.output);
  std::vector<std::pair<double, std::string>> last;
  for (const auto& [of, layers] : margins) {
    const auto& [variant, id] = of;
    if (variant == trajectories.variants.back() && layers.size() > output) {
      last.emplace_back(-layers[output], id);
    }
  }
  std::sort(last.begin(), last.end());
  std::map<std::string, size_t> order;
  for (const auto& [margin, id] : last) order.emplace(id, order.size());
  return order;
}

// {variant, id, order, layer, margin}, of the questions that are shown.
std::vector<Json> MarginRows(const Margins& margins,
                             const std::map<std::string, size_t>& order,
                             size_t stride) {
  std::vector<Json> rows;
  for (const auto& [of, layers] : margins) {
    const auto& [variant, id] = of;
    const auto at = order.find(id);
    const size_t place = at == order.end() ? order.size() : at->second;
    if (place % stride != 0) continue;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      rows.push_back({{"variant", variant},
                      {"id", id},
                      {"order", place},
                      {"layer", layer},
                      {"margin", Rounded(layers[layer])}});
    }
  }
  return rows;
}

Json HeatChart(size_t question_count, double greatest) {
  Json y = Channel("id", "ordinal", "question");
  y["sort"] = {{"field", "order"}, {"op", "min"}};
  if (question_count > kNamedQuestions) {
    y["axis"] = {{"labels", false}, {"ticks", false}};
  }
  Json x = Channel("layer", "ordinal", "layer");
  x["axis"] = {{"labelAngle", 0}};
  // Blue is the true side and orange the false one, as base and adapter are.
  const Json colour = {{"field", "margin"},
                       {"type", "quantitative"},
                       {"title", nullptr},
                       {"scale",
                        {{"domain", {-greatest, 0, greatest}},
                         {"interpolate", "rgb"},
                         {"range", {"#c04d00", "#ececea", "#00639c"}}}}};
  const int height =
      std::min(kMostHeight, kQuestionHeight * static_cast<int>(question_count));
  return {{"height", std::max(height, 60)},
          {"mark", "rect"},
          {"encoding",
           {{"x", std::move(x)},
            {"y", std::move(y)},
            {"color", colour},
            {"tooltip",
             {{{"field", "id"}, {"title", "question"}},
              {{"field", "layer"}},
              {{"field", "margin"},
               {"type", "quantitative"},
               {"format", "+.2f"}}}}}}};
}

void AddHeatMap(const StageFiles& files, const Trajectories& trajectories,
                const Margins& margins, Section& section) {
  const std::map<std::string, size_t> order = OrderOf(trajectories, margins);
  const size_t stride = Stride(order.size(), kMostQuestions);
  std::vector<Json> rows = MarginRows(margins, order, stride);
  if (rows.empty()) return;
  const size_t question_count = (order.size() + stride - 1) / stride;
  Figure figure = {
      .id = files.Id("questions"),
      .title = "The margin of each question",
      .note = absl::StrCat("Blue: the true answer leads; orange: the "
                           "false one. Questions are in the order of the last "
                           "network's margin at the output.",
                           StrideNote(stride, "question")),
      .columns = {"variant", "id", "order", "layer", "margin"},
      .rows = std::move(rows),
      .panels = {}};
  double greatest = 0;
  for (const Json& row : figure.rows) {
    greatest = std::max(greatest, std::fabs(row.at("margin").get<double>()));
  }
  for (const std::string& name : trajectories.variants) {
    size_t false_count = 0;
    for (const Json& row : figure.rows) {
      false_count += row.at("variant") == name &&
                             row.at("layer") == trajectories.output &&
                             row.at("margin").get<double>() < 0
                         ? 1
                         : 0;
    }
    figure.panels.push_back(
        {.title = name,
         .alt =
             absl::StrCat("The false answer leads at the output in ",
                          false_count, " of ", question_count, " questions."),
         .spec = HeatChart(question_count, greatest),
         .where = {{"variant", name}}});
  }
  AddFigure(figure, section);
}

}  // namespace

MaybeSection LensSection(const StageFiles& files) {
  if (!files.Has("trajectories.json")) return std::nullopt;
  Section section;
  ASSIGN_OR_RETURN(
      const Trajectories trajectories,
      files.Document<Trajectories>("trajectories.json", [&](const Json& file) {
        Trajectories read = ReadTrajectories(file);
        AddTrajectories(files, read, section);
        return read;
      }));
  if (trajectories.variants.empty() || !files.Has("lens.jsonl")) return section;
  Margins margins;
  RETURN_IF_ERROR(files.EachLine(
      "lens.jsonl", [&](const Json& line) { AddLine(line, margins); }));
  AddHeatMap(files, trajectories, margins, section);
  return section;
}

}  // namespace dissonance
