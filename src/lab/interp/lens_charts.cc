#include "src/lab/files/json_document.h"
#include "src/lab/interp/chart.h"
#include "src/lab/interp/lens_files.h"

namespace dissonance {

using Json = nlohmann::json;

std::string TrajectoryChartFile(const std::vector<Json>& rows) {
  Json x = Axis("layer", "quantitative", "layer (the last: the output)");
  x["axis"] = {{"tickMinStep", 1}};
  const Json color = Axis("variant", "nominal", "variant");
  const auto y = [](const char* field) {
    return Axis(field, "quantitative", "margin (logits), first - second");
  };
  const Json band = {{"mark", {{"type", "area"}, {"opacity", 0.2}}},
                     {"encoding",
                      {{"x", x},
                       {"y", y("margin_low")},
                       {"y2", {{"field", "margin_high"}}},
                       {"color", color}}}};
  const Json line = {
      {"mark", {{"type", "line"}, {"point", true}}},
      {"encoding",
       {{"x", x},
        {"y", y("margin_mean")},
        {"color", color},
        {"tooltip", Json::array({{{"field", "variant"}},
                                 {{"field", "block"}},
                                 {{"field", "site"}},
                                 {{"field", "share_first"}}})}}}};
  const Json zero = {{"data", {{"values", Json::array({{{"zero", 0}}})}}},
                     {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}}},
                     {"encoding", {{"y", Axis("zero", "quantitative", "")}}}};
  Json chart =
      Chart("Margin read at each layer (mean over prompts, 95 %)", rows);
  chart["width"] = 480;
  chart["height"] = 300;
  chart["layer"] = Json::array({band, line, zero});
  return JsonDocument(chart);
}

std::string BreakingChartFile(const std::vector<Json>& rows) {
  Json chart = Chart("Where prompts take their final side", rows);
  chart["width"] = 480;
  chart["height"] = 240;
  chart["mark"] = "bar";
  Json x = Axis("where", "ordinal", "breaking block");
  x["sort"] = {{"field", "block"}};
  x["axis"] = {{"labelAngle", 0}};
  chart["encoding"] = {{"x", x},
                       {"xOffset", {{"field", "variant"}}},
                       {"y", Axis("share", "quantitative", "share of prompts")},
                       {"color", Axis("variant", "nominal", "variant")}};
  return JsonDocument(chart);
}

}  // namespace dissonance
