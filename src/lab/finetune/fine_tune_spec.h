// A fine_tune spec that has been checked, with its defaults filled in as
// training.proto says them. Pure functions; thread safe.
//
//   RETURN_IF_ERROR(CheckFineTuneNames(spec));
//   ASSIGN_OR_RETURN(FineTunePlan plan,
//                    CheckFineTune(spec, model.max_position_count()));
#ifndef DISSONANCE_LAB_FINETUNE_FINE_TUNE_SPEC_H_
#define DISSONANCE_LAB_FINETUNE_FINE_TUNE_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/training.pb.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/finetune/fine_tune_documents.h"

namespace dissonance {

// Of one training: what is recorded of each step is held in memory.
inline constexpr int64_t kMaxTrainingSteps = 1'000'000;

struct FineTunePlan {
  FineTuneDocuments documents;
  // With an adapter to begin with, nothing but a dropout; target_modules is
  // empty where the worker has the default.
  v1::LoraOptions lora;
  // Complete but for validation_step_count: 0 where the worker has the default.
  v1::TrainingOptions training;
  v1::CheckpointOptions checkpoints;
  std::vector<McqItem> questions;  // empty: no evaluation
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  int64_t evaluation_step_count = 0;  // 0: the worker has the default
};

// INVALID_ARGUMENT, naming the field, unless model, adapter and output_adapter
// are names, and of one model.
absl::Status CheckFineTuneNames(const v1::FineTuneSpec& spec);

// INVALID_ARGUMENT for bad documents or questions, naming file, line and field,
// and for any value out of its range, naming its field. `max_position_count` is
// the model's.
absl::StatusOr<FineTunePlan> CheckFineTune(const v1::FineTuneSpec& spec,
                                           int64_t max_position_count);

// INVALID_ARGUMENT "fine_tune.FIELD: WHAT".
absl::Status BadFineTuneField(absl::string_view field, absl::string_view what);

// What its documents' file is called in messages.
std::string DataFileOf(const v1::FineTuneSpec& spec);

// "A" of "models/M/adapters/A".
std::string AdapterPartOf(absl::string_view adapter);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_FINE_TUNE_SPEC_H_
