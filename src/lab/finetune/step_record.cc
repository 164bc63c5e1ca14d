#include "src/lab/finetune/step_record.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using internal::v1::TrainingStep;
using internal::v1::TrainingValidation;

bool SameBits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

}  // namespace

std::string EncodeStep(const StepRecord& record) {
  const TrainingStep& step = record.step;
  Json json = {{"step", step.step()},
               {"epoch", step.epoch()},
               {"loss", step.loss()},
               {"learning_rate", step.learning_rate()},
               {"grad_norm", step.grad_norm()},
               {"tokens", step.token_count()},
               {"targets", step.target_count()},
               {"seconds", step.seconds()},
               {"peak_bytes", step.peak_bytes()}};
  for (const TrainingValidation& validation : record.validations) {
    json["validations"].push_back({{"step", validation.step()},
                                   {"loss", validation.loss()},
                                   {"best", validation.best()}});
  }
  for (const BeliefFigures& figures : record.evaluations) {
    json["evaluations"].push_back(BeliefJson(figures));
  }
  if (!record.plan_digest.empty()) json["plan_digest"] = record.plan_digest;
  return ToJsonLine(json);
}

absl::StatusOr<StepRecord> DecodeStep(absl::string_view text,
                                      absl::string_view where) {
  try {
    const Json json = Json::parse(text);
    StepRecord record;
    TrainingStep& step = record.step;
    step.set_step(json.at("step").get<int64_t>());
    step.set_epoch(json.at("epoch").get<double>());
    step.set_loss(json.at("loss").get<double>());
    step.set_learning_rate(json.at("learning_rate").get<double>());
    step.set_grad_norm(json.at("grad_norm").get<double>());
    step.set_token_count(json.at("tokens").get<int64_t>());
    step.set_target_count(json.at("targets").get<int64_t>());
    step.set_seconds(json.at("seconds").get<double>());
    step.set_peak_bytes(json.at("peak_bytes").get<int64_t>());
    for (const Json& each : json.value("validations", Json::array())) {
      TrainingValidation& validation = record.validations.emplace_back();
      validation.set_step(each.at("step").get<int64_t>());
      validation.set_loss(each.at("loss").get<double>());
      validation.set_best(each.at("best").get<bool>());
    }
    for (const Json& each : json.value("evaluations", Json::array())) {
      record.evaluations.push_back(BeliefOfJson(each));
    }
    record.plan_digest = json.value("plan_digest", "");
    return record;
  } catch (const Json::exception& e) {
    return absl::DataLossError(
        absl::StrCat(where, ": not a record of a training step: ", e.what()));
  }
}

std::string StepDifference(const TrainingStep& before,
                           const TrainingStep& now) {
  std::vector<std::string> changed;
  const auto compare = [&changed](absl::string_view what, double a, double b) {
    if (SameBits(a, b)) return;
    changed.push_back(absl::StrFormat("%s %.17g became %.17g", what, a, b));
  };
  compare("loss", before.loss(), now.loss());
  compare("learning_rate", before.learning_rate(), now.learning_rate());
  compare("grad_norm", before.grad_norm(), now.grad_norm());
  compare("epoch", before.epoch(), now.epoch());
  compare("tokens", static_cast<double>(before.token_count()),
          static_cast<double>(now.token_count()));
  compare("targets", static_cast<double>(before.target_count()),
          static_cast<double>(now.target_count()));
  return absl::StrJoin(changed, ", ");
}

std::vector<v1::MetricPoint> MetricsOf(const StepRecord& record) {
  std::map<int64_t, v1::MetricPoint> points;
  const auto set = [&points](int64_t step, absl::string_view name,
                             double value) {
    points[step].set_step(step);
    (*points[step].mutable_values())[std::string(name)] = value;
  };
  const TrainingStep& step = record.step;
  if (step.step() > 0) {
    set(step.step(), "epoch", step.epoch());
    set(step.step(), "loss", step.loss());
    set(step.step(), "learning_rate", step.learning_rate());
    set(step.step(), "grad_norm", step.grad_norm());
    if (step.seconds() > 0) {
      set(step.step(), "tokens_per_second",
          static_cast<double>(step.token_count()) / step.seconds());
    }
  }
  for (const TrainingValidation& validation : record.validations) {
    set(validation.step(), "validation_loss", validation.loss());
    set(validation.step(), "perplexity", std::exp(validation.loss()));
  }
  for (const BeliefFigures& figures : record.evaluations) {
    if (const auto rate = figures.false_belief_rate()) {
      const Interval interval = figures.false_belief_interval();
      set(figures.step, "false_belief_rate", *rate);
      set(figures.step, "false_belief_rate_low", interval.low);
      set(figures.step, "false_belief_rate_high", interval.high);
    }
    if (const auto accuracy = figures.control.accuracy()) {
      set(figures.step, "control_accuracy", *accuracy);
    }
  }
  std::vector<v1::MetricPoint> all;
  for (auto& [number, point] : points) all.push_back(std::move(point));
  return all;
}

}  // namespace dissonance
