#include "src/lab/finetune/fine_tune_files.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/lab/files/json_document.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using internal::v1::DocumentStatistics;
using internal::v1::TrainingEnd;
using internal::v1::TrainingPlan;
using internal::v1::TrainingStep;
using internal::v1::TrainingValidation;

Json ToJson(const DocumentStatistics& statistics) {
  return {{"document_count", statistics.document_count()},
          {"token_count", statistics.token_count()},
          {"target_count", statistics.target_count()},
          {"mean_tokens", statistics.mean_tokens()},
          {"median_tokens", statistics.median_tokens()},
          {"p95_tokens", statistics.p95_tokens()},
          {"max_tokens", statistics.max_tokens()},
          {"cut_count", statistics.cut_count()}};
}

// A message as its fields are named in the proto files.
Json ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options)
           .ok()) {
    return nullptr;
  }
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Json DatasetJson(const FineTunePlan& asked, const TrainingPlan& plan) {
  const auto count = static_cast<int64_t>(asked.documents.documents.size());
  return {{"text_count", count - asked.documents.chat_count},
          {"chat_count", asked.documents.chat_count},
          {"text_bytes", asked.documents.text_bytes},
          {"max_length_tokens", asked.training.max_length_tokens()},
          {"trained", ToJson(plan.documents())},
          {"held_out", ToJson(plan.validation())}};
}

Json PlanJson(const TrainingPlan& plan) {
  Json json = {{"step_count", plan.step_count()},
               {"steps_per_epoch", plan.steps_per_epoch()},
               {"parameter_count", plan.parameter_count()},
               {"modules", Json(std::vector<std::string>(
                               plan.modules().begin(), plan.modules().end()))},
               {"evaluation_step_count", plan.evaluation_step_count()},
               {"validation_step_count", plan.validation_step_count()}};
  // A dry run makes no weights and has none.
  if (!plan.digest().empty()) json["digest"] = plan.digest();
  return json;
}

Json MemoryJson(const TrainingPlan& plan) {
  return {{"state_bytes", plan.state_bytes()},
          {"activation_bytes", plan.activation_bytes()},
          {"available_bytes", plan.available_bytes()}};
}

Json StepLine(const TrainingStep& step) {
  return {
      {"step", step.step()},           {"epoch", step.epoch()},
      {"loss", step.loss()},           {"learning_rate", step.learning_rate()},
      {"grad_norm", step.grad_norm()}, {"tokens", step.token_count()},
      {"targets", step.target_count()}};
}

Json LossAt(int64_t step, double loss) {
  return {{"step", step}, {"loss", loss}};
}

template <typename Losses>
Json FirstLowestLast(const Losses& losses) {
  if (losses.empty()) return nullptr;
  const auto lowest = std::min_element(
      losses.begin(), losses.end(),
      [](const auto& a, const auto& b) { return a.loss() < b.loss(); });
  const auto& first = *losses.begin();
  const auto& last = *losses.rbegin();
  return {{"first", LossAt(first.step(), first.loss())},
          {"lowest", LossAt(lowest->step(), lowest->loss())},
          {"last", LossAt(last.step(), last.loss())}};
}

Json FileJson(absl::string_view name, absl::string_view bytes) {
  return {{"name", std::string(name)},
          {"sha256", Sha256Of(bytes)},
          {"size_bytes", bytes.size()}};
}

// What depends on how the machine felt.
Json RunJson(const TrainingManifest& manifest) {
  double seconds = 0;
  int64_t tokens = 0;
  int64_t peak_bytes = 0;
  for (const TrainingStep& step : manifest.history.steps) {
    seconds += step.seconds();
    tokens += step.token_count();
    peak_bytes = std::max(peak_bytes, step.peak_bytes());
  }
  const double rate = static_cast<double>(tokens) / seconds;
  return {{"job", manifest.job.name()},
          {"request_id", manifest.job.request_id()},
          {"training_seconds", seconds},
          {"tokens_per_second", seconds > 0 ? Json(rate) : Json()},
          {"peak_bytes", peak_bytes},
          {"memory", MemoryJson(manifest.plan)}};
}

}  // namespace

std::string TrainingStepsFile(const TrainingHistory& history) {
  // One line at a time: as JSON they take many times the bytes.
  std::map<int64_t, const TrainingStep*> steps;
  for (const TrainingStep& step : history.steps) steps[step.step()] = &step;
  for (const auto& [step, each] : history.validations) steps[step];
  for (const auto& [step, each] : history.evaluations) steps[step];
  std::string text;
  for (const auto& [step, trained] : steps) {
    Json line = trained == nullptr ? Json{{"step", step}} : StepLine(*trained);
    const auto validation = history.validations.find(step);
    if (validation != history.validations.end()) {
      line["validation_loss"] = validation->second.loss();
      line["perplexity"] = std::exp(validation->second.loss());
    }
    const auto evaluation = history.evaluations.find(step);
    if (evaluation != history.evaluations.end()) {
      line["evaluation"] = BeliefJson(evaluation->second);
      line["evaluation"].erase("step");
    }
    text += ToJsonLine(line);
  }
  return text;
}

std::string DatasetFile(const FineTunePlan& asked, const TrainingPlan& plan) {
  return JsonDocument(DatasetJson(asked, plan));
}

std::string PlanFile(const FineTunePlan& asked, const TrainingPlan& plan) {
  Json json = PlanJson(plan);
  json["dataset"] = DatasetJson(asked, plan);
  json["memory"] = MemoryJson(plan);
  return JsonDocument(json);
}

std::string TrainingSummaryFile(const TrainingPlan& plan,
                                const TrainingEnd& end,
                                const TrainingHistory& history) {
  std::vector<TrainingValidation> validations;
  for (const auto& [step, each] : history.validations) {
    validations.push_back(each);
  }
  Json json = {
      {"reason", end.reason() == TrainingEnd::REASON_EARLY_STOP ? "early_stop"
                                                                : "finished"},
      {"step_count", end.step()},
      {"planned_step_count", plan.step_count()},
      {"best_step", end.best_step()},
      {"parameter_count", plan.parameter_count()},
      {"module_count", plan.modules_size()},
      {"loss", FirstLowestLast(history.steps)},
      {"validation", FirstLowestLast(validations)},
      {"evaluation", nullptr}};
  const auto& evaluations = history.evaluations;
  if (!evaluations.empty()) {
    // Of the weights that came out; after an early stop others were evaluated
    // at later steps.
    const auto of_best = evaluations.find(end.best_step());
    const BeliefFigures& last = of_best == evaluations.end()
                                    ? evaluations.rbegin()->second
                                    : of_best->second;
    json["evaluation"] = {{"first", BeliefJson(evaluations.begin()->second)},
                          {"last", BeliefJson(last)}};
  }
  return JsonDocument(json);
}

std::string TrainingManifestFile(const TrainingManifest& manifest) {
  v1::FineTuneSpec spec = manifest.spec;
  spec.clear_data();
  spec.clear_evaluation_data();
  Json files = Json::object();
  for (const v1::JobOutput& output : manifest.outputs) {
    if (output.names_run()) continue;
    files[output.file_name()] = {
        {"sha256",
         std::string(absl::StripPrefix(output.artifact(), "artifacts/"))},
        {"size_bytes", output.size_bytes()}};
  }
  Json data = FileJson(manifest.spec.data_name(), manifest.spec.data());
  data["document_count"] = manifest.asked.documents.documents.size();
  Json questions;
  if (!manifest.asked.questions.empty()) {
    questions = FileJson(manifest.spec.evaluation_data_name(),
                         manifest.spec.evaluation_data());
    questions["question_count"] = manifest.asked.questions.size();
  }
  return JsonDocument({{"kind", "fine_tune"},
                       {"spec", ToJson(spec)},
                       {"resolved",
                        {{"lora", ToJson(manifest.asked.lora)},
                         {"training", ToJson(manifest.asked.training)},
                         {"checkpoints", ToJson(manifest.asked.checkpoints)}}},
                       {"data", std::move(data)},
                       {"evaluation_data", std::move(questions)},
                       {"plan", PlanJson(manifest.plan)},
                       {"provenance", ProvenanceJson(manifest.provenance)},
                       {"files", std::move(files)},
                       {"run", RunJson(manifest)}});
}

}  // namespace dissonance
