#include "client/cli/training_curves.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/output.h"

namespace dissonance::cli {

void TrainingCurves::Add(const v1::MetricPoint& point) {
  step_ = point.step();
  for (const auto& [name, value] : point.values()) {
    Curve& curve =
        curves_.try_emplace(name, Curve{.first = value}).first->second;
    curve.last = value;
    curve.sum += value;
    ++curve.count;
    curve.last_step = step_;
  }
}

std::optional<TrainingCurves::Curve> TrainingCurves::Of(
    absl::string_view name) const {
  const auto found = curves_.find(name);
  if (found == curves_.end()) return std::nullopt;
  return found->second;
}

std::string TrainingCurves::Note() const {
  std::vector<std::string> parts;
  const auto add = [&](absl::string_view name, const auto& text_of) {
    const auto curve = Of(name);
    if (!curve.has_value()) return;
    parts.push_back(text_of(curve->last));
    if (curve->last_step == step_) return;
    absl::StrAppend(&parts.back(), " at step ", curve->last_step);
  };
  add(kLoss, [](double x) { return absl::StrFormat("loss %.4g", x); });
  add(kLearningRate, [](double x) { return absl::StrFormat("lr %.2g", x); });
  add(kGradNorm, [](double x) { return absl::StrFormat("grad norm %.3g", x); });
  add(kTokensPerSecond, [](double x) {
    return absl::StrCat(HumanCount(std::llround(x)), " tokens/s");
  });
  add(kFalseBeliefRate,
      [](double x) { return absl::StrCat("false belief ", HumanPercent(x)); });
  if (parts.empty()) return "";
  return absl::StrCat("step ", step_, ": ", absl::StrJoin(parts, ", "));
}

}  // namespace dissonance::cli
