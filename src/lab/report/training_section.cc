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

constexpr int kHeight = 200;
constexpr size_t kMostSteps = 2000;

struct Point {
  Json step;
  Json loss;
};

struct Curves {
  std::vector<Point> training;
  std::vector<Point> validation;
  std::vector<Json> beliefs;  // {step, false_belief_rate, low, high, control}
};

Json OrNull(const Json& object, const char* field) {
  return object.contains(field) ? object.at(field) : Json();
}

Json BeliefRow(const Json& step, const Json& evaluation) {
  const Json& belief = evaluation.at("false_belief");
  const Json& interval = belief.at("interval_95");
  return {{"step", step},
          {"false_belief_rate", belief.at("rate")},
          {"low", interval.is_null() ? Json() : interval.at(0)},
          {"high", interval.is_null() ? Json() : interval.at(1)},
          {"control_accuracy", OrNull(evaluation.at("control"), "accuracy")}};
}

void AddLine(const Json& line, Curves& curves) {
  const Json& step = line.at("step");
  if (line.contains("loss")) {
    curves.training.push_back({step, line.at("loss")});
  }
  const Json validation = OrNull(line, "validation");
  if (validation.is_object()) {
    curves.validation.push_back({step, validation.at("loss")});
  }
  const Json evaluation = OrNull(line, "evaluation");
  if (evaluation.is_object()) {
    curves.beliefs.push_back(BeliefRow(step, evaluation));
  }
}

Json Curve(const char* field, const char* title, Json colour, Json mark) {
  mark["type"] = "line";
  Json y = Channel(field, "quantitative", title);
  y["scale"] = {{"zero", false}};
  return {{"mark", std::move(mark)},
          {"encoding",
           {{"x", CountChannel("step", "optimizer step")},
            {"y", std::move(y)},
            {"color", std::move(colour)}}}};
}

Json LossRow(const char* curve, const Point& point) {
  return {{"curve", curve}, {"step", point.step}, {"loss", point.loss}};
}

// Some of the training's steps and all of the validation's, by step.
std::vector<Json> LossRows(const Curves& curves, size_t stride) {
  std::vector<Json> rows;
  for (size_t i = 0; i < curves.training.size(); i += stride) {
    rows.push_back(LossRow("training", curves.training[i]));
  }
  for (const Point& point : curves.validation) {
    rows.push_back(LossRow("validation", point));
  }
  absl::c_stable_sort(rows, [](const Json& a, const Json& b) {
    return a.at("step") < b.at("step");
  });
  return rows;
}

void AddLoss(const StageFiles& files, const Curves& curves, Section& section) {
  if (curves.training.empty()) return;
  const size_t stride = Stride(curves.training.size(), kMostSteps);
  Json colour = {{"field", "curve"},
                 {"type", "nominal"},
                 {"title", nullptr},
                 {"scale",
                  {{"domain", {"training", "validation"}},
                   {"range", {"var(--soft)", "var(--third)"}}}}};
  if (curves.validation.empty()) colour["legend"] = nullptr;
  Json spec = Curve("loss", "nats per predicted token", std::move(colour),
                    {{"strokeWidth", 1.2}});
  spec["height"] = kHeight;
  Figure figure = {
      .id = files.Id("loss"),
      .title = "Loss",
      .note = absl::StrCat("Of each step's own documents, so it scatters.",
                           StrideNote(stride, "step")),
      .columns = {"curve", "step", "loss"},
      .rows = LossRows(curves, stride),
      .panels = {}};
  const Json first = LossRow("training", curves.training.front());
  const Json last = LossRow("training", curves.training.back());
  figure.panels.push_back(
      {.title = "",
       .alt = absl::StrCat("From ", NumberText(first, "loss"),
                           " at the first step to ", NumberText(last, "loss"),
                           " at the last."),
       .spec = std::move(spec)});
  AddFigure(figure, section);
}

Json Named(const char* name) {
  return {{"datum", name},
          {"type", "nominal"},
          {"title", nullptr},
          {"scale",
           {{"domain", {"false-belief rate", "control accuracy"}},
            {"range", {"var(--adapter)", "var(--third)"}}}}};
}

Json BeliefChart() {
  constexpr char kTitle[] = "share of questions";
  const auto line = [&](const char* field, const char* name, Json dash) {
    Json spec = Curve(field, kTitle, Named(name),
                      {{"point", true}, {"strokeDash", std::move(dash)}});
    spec["encoding"]["y"] = ShareChannel(field, kTitle);
    return spec;
  };
  Json band = {{"mark", {{"type", "area"}, {"opacity", 0.18}}},
               {"encoding",
                {{"x", CountChannel("step", "optimizer step")},
                 {"y", ShareChannel("low", kTitle)},
                 {"y2", {{"field", "high"}}},
                 {"color", Named("false-belief rate")}}}};
  return {{"height", kHeight},
          {"layer", Json::array({std::move(band),
                                 line("false_belief_rate", "false-belief rate",
                                      Json::array({1, 0})),
                                 line("control_accuracy", "control accuracy",
                                      Json::array({5, 3}))})}};
}

void AddBelief(const StageFiles& files, const std::vector<Json>& rows,
               Section& section) {
  if (rows.empty()) return;
  Figure figure = {.id = files.Id("belief"),
                   .title = "The belief against the step",
                   .note =
                       "Questions asked of the weights as they were then; "
                       "band: Wilson's 95 % interval.",
                   .columns = {"step", "false_belief_rate", "low", "high",
                               "control_accuracy"},
                   .rows = rows,
                   .panels = {}};
  const Json& first = rows.front();
  const Json& last = rows.back();
  figure.panels.push_back(
      {.title = "",
       .alt = absl::StrCat("The false-belief rate goes from ",
                           PercentText(first, "false_belief_rate"), " at step ",
                           NumberText(first, "step"), " to ",
                           PercentText(last, "false_belief_rate"), " at step ",
                           NumberText(last, "step"), "; control accuracy from ",
                           PercentText(first, "control_accuracy"), " to ",
                           PercentText(last, "control_accuracy"), "."),
       .spec = BeliefChart()});
  section.highlights.push_back(
      {absl::StrCat("false-belief rate after ", NumberText(last, "step"),
                    " steps"),
       PercentText(last, "false_belief_rate"),
       absl::StrCat("from ", PercentText(first, "false_belief_rate"))});
  AddFigure(figure, section);
}

std::string DatasetText(const Json& dataset) {
  const Json& trained = dataset.at("trained");
  return absl::StrCat(NumberText(trained, "document_count"), " documents of ",
                      NumberText(trained, "token_count"), " tokens (mean ",
                      NumberText(trained, "mean_tokens"), ", median ",
                      NumberText(trained, "median_tokens"),
                      ", 95th percentile ", NumberText(trained, "p95_tokens"),
                      ", longest ", NumberText(trained, "max_tokens"), "), ",
                      NumberText(trained, "cut_count"), " cut; ",
                      NumberText(dataset.at("held_out"), "document_count"),
                      " held out.");
}

}  // namespace

MaybeSection TrainingSection(const StageFiles& files) {
  if (!files.Has("training.jsonl")) return std::nullopt;
  Section section;
  if (files.Has("dataset.json")) {
    ASSIGN_OR_RETURN(const std::string text,
                     files.Document<std::string>("dataset.json", DatasetText));
    section.html += Paragraph(text);
  }
  Curves curves;
  RETURN_IF_ERROR(files.EachLine(
      "training.jsonl", [&](const Json& line) { AddLine(line, curves); }));
  AddLoss(files, curves, section);
  AddBelief(files, curves.beliefs, section);
  return section;
}

}  // namespace dissonance
