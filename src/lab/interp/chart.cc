#include "src/lab/interp/chart.h"

#include <utility>

namespace dissonance {

nlohmann::json Chart(const std::string& title, nlohmann::json rows) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v5.json"},
          {"title", title},
          {"data", {{"values", std::move(rows)}}}};
}

nlohmann::json Axis(const std::string& field, const std::string& type,
                    const std::string& title) {
  return {{"field", field}, {"type", type}, {"title", title}};
}

nlohmann::json BlockAxis() {
  nlohmann::json axis = Axis("block", "quantitative", "block");
  axis["axis"] = {{"tickMinStep", 1}};
  return axis;
}

}  // namespace dissonance
