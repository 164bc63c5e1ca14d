// What a training's metric points say: first, last and mean of each curve, and
// the words beside the progress. Values; not thread safe.
//
//   TrainingCurves curves;
//   curves.Add(event.metrics());
//   display.SetNote(curves.Note());   // "step 3: loss 2.31, lr 1.9e-04, ..."
#ifndef DISSONANCE_CLIENT_CLI_TRAINING_CURVES_H_
#define DISSONANCE_CLIENT_CLI_TRAINING_CURVES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance::cli {

// Names of the values, as fine_tune jobs give them.
inline constexpr absl::string_view kLoss = "loss";
inline constexpr absl::string_view kLearningRate = "learning_rate";
inline constexpr absl::string_view kGradNorm = "grad_norm";
inline constexpr absl::string_view kTokensPerSecond = "tokens_per_second";
inline constexpr absl::string_view kValidationLoss = "validation_loss";
inline constexpr absl::string_view kFalseBeliefRate = "false_belief_rate";

class TrainingCurves {
 public:
  struct Curve {
    double first = 0;
    double last = 0;
    double sum = 0;
    int64_t count = 0;
    int64_t last_step = 0;

    double mean() const { return sum / static_cast<double>(count); }
  };

  void Add(const v1::MetricPoint& point);

  // Unset where no point had a value of that name.
  std::optional<Curve> Of(absl::string_view name) const;

  // "step 19: loss 2.31, lr 1.9e-04, grad norm 0.82, 5,210 tokens/s, false
  // belief 12.5 % at step 10": the last of each; empty before there is any.
  std::string Note() const;

 private:
  std::map<std::string, Curve, std::less<>> curves_;
  int64_t step_ = 0;  // of the last point
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_TRAINING_CURVES_H_
