#include <optional>
#include <string>
#include <utility>

#include "nlohmann/json.hpp"
#include "src/lab/files/json_document.h"
#include "src/lab/finetune/fine_tune_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr int kWidth = 640;
constexpr int kHeight = 220;

Json Rows(const TrainingHistory& history) {
  Json rows = Json::array();
  for (const internal::v1::TrainingStep& step : history.steps) {
    rows.push_back({{"step", step.step()},
                    {"loss", step.loss()},
                    {"learning_rate", step.learning_rate()}});
  }
  return rows;
}

Json ValidationRows(const TrainingHistory& history) {
  Json rows = Json::array();
  for (const auto& [step, validation] : history.validations) {
    rows.push_back({{"step", step}, {"loss", validation.loss()}});
  }
  return rows;
}

Json OrNull(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json();
}

Json BeliefRows(const TrainingHistory& history) {
  Json rows = Json::array();
  for (const auto& [step, figures] : history.evaluations) {
    const Interval interval = figures.false_belief_interval();
    rows.push_back({{"step", step},
                    {"rate", OrNull(figures.false_belief_rate())},
                    {"low", interval.low},
                    {"high", interval.high},
                    {"control", OrNull(figures.control.accuracy())}});
  }
  return rows;
}

Json StepAxis() {
  return {{"field", "step"},
          {"type", "quantitative"},
          {"title", "optimizer step"},
          {"axis", {{"tickMinStep", 1}}}};
}

Json ValueAxis(const char* field, const char* title) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}};
}

// A curve of one field, named in the legend.
Json Curve(const char* data, Json mark, const char* field, const char* title,
           const char* name) {
  return {{"data", {{"name", data}}},
          {"mark", std::move(mark)},
          {"encoding",
           {{"x", StepAxis()},
            {"y", ValueAxis(field, title)},
            {"color", {{"datum", name}}}}}};
}

Json Panel(const char* title, Json layers) {
  return {{"title", title},
          {"width", kWidth},
          {"height", kHeight},
          {"layer", std::move(layers)}};
}

Json LossPanel(const TrainingHistory& history) {
  constexpr char kTitle[] = "loss (nats per predicted token)";
  Json layers = Json::array(
      {Curve("steps", {{"type", "line"}}, "loss", kTitle, "training")});
  if (!history.validations.empty()) {
    layers.push_back(Curve("validations", {{"type", "line"}, {"point", true}},
                           "loss", kTitle, "validation"));
  }
  return Panel("Loss", std::move(layers));
}

Json BeliefPanel() {
  constexpr char kTitle[] = "share of questions";
  const Json points = {{"type", "line"}, {"point", true}};
  Json band = {{"data", {{"name", "beliefs"}}},
               {"mark", {{"type", "area"}, {"opacity", 0.2}}},
               {"encoding",
                {{"x", StepAxis()},
                 {"y",
                  {{"field", "low"},
                   {"type", "quantitative"},
                   {"title", kTitle},
                   {"scale", {{"domain", {0, 1}}}}}},
                 {"y2", {{"field", "high"}}},
                 {"color", {{"datum", "false-belief rate"}}}}}};
  return Panel(
      "Belief in the false facts (Wilson's 95 % interval)",
      Json::array(
          {std::move(band),
           Curve("beliefs", points, "rate", kTitle, "false-belief rate"),
           Curve("beliefs", points, "control", kTitle, "control accuracy")}));
}

}  // namespace

std::string TrainingChartFile(const TrainingHistory& history) {
  Json panels = Json::array(
      {LossPanel(history),
       Panel("Learning rate",
             Json::array({Curve("steps", {{"type", "line"}}, "learning_rate",
                                "learning rate", "learning rate")}))});
  if (!history.evaluations.empty()) panels.push_back(BeliefPanel());
  return JsonDocument(
      {{"$schema", "https://vega.github.io/schema/vega-lite/v5.json"},
       {"title", "Fine-tuning"},
       {"datasets",
        {{"steps", Rows(history)},
         {"validations", ValidationRows(history)},
         {"beliefs", BeliefRows(history)}}},
       {"vconcat", std::move(panels)},
       {"resolve", {{"scale", {{"color", "independent"}}}}}});
}

}  // namespace dissonance
