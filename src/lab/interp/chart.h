// Parts of Vega-Lite charts with their data inside. Pure functions; thread
// safe.
//
//   Json chart = Chart("AUC", rows);
//   chart["encoding"] = {{"x", BlockAxis()}, ...};
#ifndef DISSONANCE_LAB_INTERP_CHART_H_
#define DISSONANCE_LAB_INTERP_CHART_H_

#include <string>

#include "nlohmann/json.hpp"

namespace dissonance {

// A specification without marks: schema, title and the rows as its data.
nlohmann::json Chart(const std::string& title, nlohmann::json rows);

// A field on an axis; `type` is "quantitative", "nominal" or "ordinal".
nlohmann::json Axis(const std::string& field, const std::string& type,
                    const std::string& title);

// Blocks from 0, with whole ticks.
nlohmann::json BlockAxis();

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_CHART_H_
