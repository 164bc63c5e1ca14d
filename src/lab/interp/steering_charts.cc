#include <string>
#include <utility>

#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/files/json_document.h"
#include "src/lab/interp/steering_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr char kSchema[] = "https://vega.github.io/schema/vega-lite/v5.json";
constexpr int kCellSize = 34;
constexpr int kHistogramWidth = 420;
constexpr int kHistogramHeight = 180;

Json Ordinal(const char* field, const char* title) {
  return {{"field", field}, {"type", "ordinal"}, {"title", title}};
}

// One figure over blocks and coefficients, for each direction and positions.
Json HeatMap(const char* field, const char* title, const char* scheme) {
  const Json value = {{"field", field}, {"type", "quantitative"}};
  Json colour = value;
  colour["title"] = "share";
  colour["scale"] = {{"domain", {0, 1}}, {"scheme", scheme}};
  Json label = value;
  label["format"] = ".2f";
  const Json x = Ordinal("coefficient", "coefficient");
  Json y = Ordinal("block", "block");
  y["sort"] = "descending";
  Json layers = Json::array(
      {{{"mark", "rect"}, {"encoding", {{"color", std::move(colour)}}}},
       {{"mark", {{"type", "text"}, {"fontSize", 9}}},
        {"encoding", {{"text", std::move(label)}}}}});
  return {{"title", title},
          {"facet",
           {{"column", {{"field", "direction"}, {"title", "direction"}}},
            {"row", {{"field", "positions"}, {"title", "positions"}}}}},
          {"spec",
           {{"width", {{"step", kCellSize}}},
            {"height", {{"step", kCellSize}}},
            {"encoding", {{"x", x}, {"y", std::move(y)}}},
            {"layer", std::move(layers)}}}};
}

Json Rule(const Json& at, const char* name, const char* colour) {
  return {{"data", {{"values", Json::array({{{"at", at}}})}}},
          {"mark", {{"type", "rule"}, {"color", colour}, {"strokeWidth", 2}}},
          {"encoding",
           {{"x", {{"field", "at"}, {"type", "quantitative"}}},
            {"tooltip", {{"value", name}}}}}};
}

}  // namespace

std::string SteeringChart(absl::Span<const Json> rows) {
  Json values = Json::array();
  for (const Json& row : rows) {
    if (row.at("phase") == "grid") values.push_back(row);
  }
  return JsonDocument(
      {{"$schema", kSchema},
       {"title", "Steering"},
       {"data", {{"values", std::move(values)}}},
       {"vconcat",
        Json::array(
            {HeatMap("returned_share", "share of false answers returned",
                     "blues"),
             HeatMap("control_accuracy", "accuracy on controls", "greens")})},
       {"resolve", {{"scale", {{"color", "independent"}}}}}});
}

std::string NullChart(absl::Span<const Json> rows, const Json& best_share,
                      const Json& percentile) {
  Json values = Json::array();
  for (const Json& row : rows) values.push_back(row);
  Json layers =
      Json::array({{{"mark", "bar"},
                    {"encoding",
                     {{"x",
                       {{"field", "returned_share"},
                        {"type", "quantitative"},
                        {"bin", {{"step", 0.05}, {"extent", {0, 1}}}},
                        {"scale", {{"domain", {0, 1}}}},
                        {"title", "share of false answers returned"}}},
                      {"y",
                       {{"aggregate", "count"},
                        {"type", "quantitative"},
                        {"title", "random directions"}}}}}}});
  if (!percentile.is_null()) {
    layers.push_back(Rule(percentile, "95th percentile", "gray"));
  }
  if (!best_share.is_null()) {
    layers.push_back(Rule(best_share, "best setting", "firebrick"));
  }
  return JsonDocument(
      {{"$schema", kSchema},
       {"title",
        "Random directions (gray: 95th percentile) and the best setting (red)"},
       {"data", {{"values", std::move(values)}}},
       {"width", kHistogramWidth},
       {"height", kHistogramHeight},
       {"layer", std::move(layers)}});
}

}  // namespace dissonance
