// One attempt at a fine_tune job: begins a training on the worker at the newest
// checkpoint that it takes, follows it to its end, and records what comes. What
// was recorded before is computed again up to where new steps begin, compared
// and not recorded twice. For one thread; borrows everything.
//
//   FineTuneAttempt attempt(parts, spec, std::move(plan), job);
//   RETURN_IF_ERROR(attempt.Run());
#ifndef DISSONANCE_LAB_FINETUNE_FINE_TUNE_ATTEMPT_H_
#define DISSONANCE_LAB_FINETUNE_FINE_TUNE_ATTEMPT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/internal/v1/training.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/eval/mcq_scorer.h"
#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/finetune/checkpoint_outputs.h"
#include "src/lab/finetune/fine_tune_files.h"
#include "src/lab/finetune/fine_tune_spec.h"
#include "src/lab/finetune/step_record.h"
#include "src/lab/finetune/training_client.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

// What every attempt works with.
struct FineTuneParts {
  ComputeClient& compute;
  TrainingClient& training;
  AdapterRegistrar& registrar;
  const Clock& clock;
  // Steps are recorded together, at most so long after the first of them.
  absl::Duration record_interval = absl::Seconds(1);
};

class FineTuneAttempt {
 public:
  FineTuneAttempt(const FineTuneParts& parts, const v1::FineTuneSpec& spec,
                  FineTunePlan asked, JobContext& job);

  // See FineTune::Run.
  absl::Status Run();

 private:
  using Message = internal::v1::TrainResponse;

  // Reads what earlier attempts recorded.
  absl::Status Resume();
  // Trains from the newest checkpoint that the worker takes.
  absl::Status Train();
  // Begins at a checkpoint, or anew. Sets plan_ once the worker agrees.
  absl::Status Begin(std::optional<int64_t> checkpoint);
  absl::Status SendCheckpoint(int64_t checkpoint);
  absl::Status AwaitPlan(std::optional<int64_t> checkpoint);
  absl::Status AcceptPlan();
  // FAILED_PRECONDITION if the plan is not that of the records.
  absl::Status CheckSameTraining();
  absl::Status LogPlan();
  v1::Provenance PlanProvenance() const;
  absl::Status Follow();

  absl::Status Take(const Message& message);
  absl::Status TakeStep(const internal::v1::TrainingStep& step);
  absl::Status TakeValidation(const internal::v1::TrainingValidation& each);
  absl::Status TakeSnapshot(const internal::v1::TrainingSnapshot& snapshot);
  absl::Status TakeChunk(const internal::v1::SnapshotChunk& chunk);
  absl::Status TakeEnd(const internal::v1::TrainingEnd& end);
  absl::Status Evaluate(int64_t step);
  // Says, once, that a step came out other than recorded, if it did.
  absl::Status NoteDifference(int64_t step, const std::string& difference);
  // Tells the worker to stop, if the job was asked to.
  absl::Status HeedStop();

  // The step under way gets no more figures.
  void CloseStep();
  // Records the closed steps; without `now`, only after the interval.
  absl::Status Flush(bool now);

  absl::Status Finish();
  absl::Status WriteFiles();
  // The registered adapter; nullopt for a replay, which registers nothing.
  absl::StatusOr<std::optional<v1::Adapter>> RegisterOutput();
  absl::StatusOr<v1::AdapterArtifacts> OutputArtifacts();
  absl::Status FinishDryRun();
  CallOptions call() const;

  const FineTuneParts parts_;
  const v1::FineTuneSpec& spec_;
  const FineTunePlan asked_;
  JobContext& job_;
  CheckpointOutputs checkpoints_;
  McqScorer scorer_;  // of the weights in training
  std::unique_ptr<TrainingSession> session_;
  std::optional<internal::v1::TrainingPlan> plan_;
  std::optional<internal::v1::TrainingEnd> end_;

  TrainingHistory history_;  // with steps that are not recorded yet
  std::string plan_digest_;  // of the records; empty: none
  int64_t recorded_steps_ = 0;
  int64_t trained_step_ = 0;        // the worker's
  std::optional<StepRecord> open_;  // the new step under way
  std::vector<StepRecord> closed_;  // not recorded yet
  absl::Duration closed_since_;     // of the first, monotonic
  StepRecord loose_;                // figures with no step to go to
  bool has_difference_ = false;     // said once
  bool stop_sent_ = false;
  std::unique_ptr<OutputWriter> output_;  // the final weights, under way
  bool has_output_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_FINE_TUNE_ATTEMPT_H_
