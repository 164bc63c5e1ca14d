// The files of a training that are made of its records; their names are in
// output_names.h. JSON has sorted keys; all is UTF-8 with LF. Another run of
// the same job gives the same bytes, but for the manifest's field "run" and a
// dry run's plan. Pure functions; thread safe.
//
//   std::string contents = TrainingStepsFile(history);
#ifndef DISSONANCE_LAB_FINETUNE_FINE_TUNE_FILES_H_
#define DISSONANCE_LAB_FINETUNE_FINE_TUNE_FILES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "dissonance/internal/v1/training.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/finetune/belief_evaluation.h"
#include "src/lab/finetune/fine_tune_spec.h"

namespace dissonance {

// All that a training measured.
struct TrainingHistory {
  std::vector<internal::v1::TrainingStep> steps;  // from 1, without gaps
  // By step.
  std::map<int64_t, internal::v1::TrainingValidation> validations;
  std::map<int64_t, BeliefFigures> evaluations;
};

// One line a step {epoch, grad_norm, learning_rate, loss, step, targets,
// tokens}, with {validation_loss, perplexity} and {evaluation} where there were
// any; what was evaluated before the first step has a line with step 0.
std::string TrainingStepsFile(const TrainingHistory& history);

// The curves against the step, with their data: loss, learning rate, and the
// false-belief rate with its interval beside the control accuracy. A Vega-Lite
// 5 specification.
std::string TrainingChartFile(const TrainingHistory& history);

// How many documents and tokens, and how long they are.
std::string DatasetFile(const FineTunePlan& asked,
                        const internal::v1::TrainingPlan& plan);

// Of a dry run: steps, trained numbers, memory and data.
std::string PlanFile(const FineTunePlan& asked,
                     const internal::v1::TrainingPlan& plan);

// First, lowest and last figures, and why it ended. The last evaluation is that
// of the weights that came out.
std::string TrainingSummaryFile(const internal::v1::TrainingPlan& plan,
                                const internal::v1::TrainingEnd& end,
                                const TrainingHistory& history);

// What the manifest says.
struct TrainingManifest {
  const v1::FineTuneSpec& spec;
  const v1::Job& job;
  const FineTunePlan& asked;
  const internal::v1::TrainingPlan& plan;
  const v1::Provenance& provenance;
  const TrainingHistory& history;
  absl::Span<const v1::JobOutput> outputs;  // those that do not name the run
};

std::string TrainingManifestFile(const TrainingManifest& manifest);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_FINE_TUNE_FILES_H_
