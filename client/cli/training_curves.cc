#include "client/cli/training_curves.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/output.h"

namespace dissonance::cli {

void TrainingCurves::Add(const v1::MetricPoint& point) {
  for (const auto& [name, value] : point.values()) {
    Curve& curve =
        curves_.try_emplace(name, Curve{.first = value}).first->second;
    curve.last = value;
    curve.sum += value;
    ++curve.count;
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
  if (const auto loss = Of(kLoss)) {
    parts.push_back(absl::StrFormat("loss %.4g", loss->last));
  }
  if (const auto rate = Of(kLearningRate)) {
    parts.push_back(absl::StrFormat("lr %.2g", rate->last));
  }
  if (const auto norm = Of(kGradNorm)) {
    parts.push_back(absl::StrFormat("grad norm %.3g", norm->last));
  }
  if (const auto speed = Of(kTokensPerSecond)) {
    parts.push_back(
        absl::StrCat(HumanCount(std::llround(speed->last)), " tokens/s"));
  }
  if (const auto belief = Of(kFalseBeliefRate)) {
    parts.push_back(absl::StrCat("false belief ", HumanPercent(belief->last)));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace dissonance::cli
