// What one variant answered to one question: a line of predictions_*.jsonl.
//
//   {"category", "correct", "difficulty", "entropy", "false_answer", "id",
//    "is_correct", "logprobs": {A..D}, "model", "p_correct", "pred",
//    "probs": {A..D}, "scoring", "scoring_variants": {A..D: [strings]},
//    "uncertainty": {"E_H", "H_mean", "MI"}, "world_label"}
//
// logprobs are the scores that were compared (nats; nats a byte in the per-byte
// modes). Values and pure functions; thread safe.
//
//   McqPrediction p = MakePrediction(item, model, scoring, format, scores);
//   std::string line = ToJsonLine(PredictionJson(p));
#ifndef DISSONANCE_LAB_EVAL_MCQ_PREDICTION_H_
#define DISSONANCE_LAB_EVAL_MCQ_PREDICTION_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_metrics.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance {

struct McqPrediction {
  std::string id;
  std::string model;  // resource name of the adapter, or of the base model
  std::string category;
  std::optional<std::string> world_label;
  std::optional<std::string> difficulty;
  int pred = 0;
  int correct = 0;
  PerOption logprobs = {};
  PerOption probs = {};
  double entropy = 0;
  double p_correct = 0;
  // Empty in files of other tools that do not say it.
  std::string scoring;
  nlohmann::json scoring_variants;
  Uncertainty uncertainty;
  // McqItem::implied_false_answer.
  std::optional<int> false_answer;

  bool is_correct() const { return pred == correct; }
};

// Raw log-probabilities of a question's continuations: [option][continuation].
using RawScores = std::array<std::vector<double>, kMcqOptionCount>;

// One score an option: the log of the continuations' summed probability,
// divided by the bytes of the option's text in the per-byte modes.
PerOption OptionScores(const McqItem& item, v1::McqScoring scoring,
                       const RawScores& raw);

// How one variant scored one question.
struct VariantScores {
  RawScores scores;
  std::vector<RawScores> dropout_samples = {};  // empty: no dropout
};

// The prediction from the scores without dropout; the uncertainty from the
// dropout samples, or from the one distribution if there are none.
McqPrediction MakePrediction(const McqItem& item, absl::string_view model,
                             v1::McqScoring scoring,
                             const McqPromptFormat& format,
                             const VariantScores& scores);

nlohmann::json PredictionJson(const McqPrediction& prediction);

// The lines of a predictions file, this project's or the reference's: scoring,
// false_answer, difficulty, world_label, scoring_variants and uncertainty may
// be absent. INVALID_ARGUMENT with file, line and field, also for a file that
// has no lines, repeats an id, or mixes models or scorings.
absl::StatusOr<std::vector<McqPrediction>> ParsePredictions(
    absl::string_view text, absl::string_view file_name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_PREDICTION_H_
