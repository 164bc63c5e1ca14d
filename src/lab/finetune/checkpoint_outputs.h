// The checkpoints of a training as outputs of its job:
//
//   checkpoint-00050/adapter_model.safetensors   weights, as PEFT has them
//   checkpoint-00050/state.safetensors           all that training goes on from
//
// The state is named last, so it completes the pair. Which of them there are
// depends on when a job was stopped, so they name the run. While an attempt
// runs they may be adapters, "models/M/adapters/A.step-50"; an adapter is
// registered after the pair is complete and forgotten before it goes, so a
// crash leaves none that the job's outputs do not tell of. For one thread;
// borrows everything.
//
//   CheckpointOutputs checkpoints(job, registrar, spec, 2);
//   RETURN_IF_ERROR(checkpoints.Recover(recorded_steps));
//   RETURN_IF_ERROR(checkpoints.Begin(50));
//   RETURN_IF_ERROR(checkpoints.Append(chunk));   // until complete
#ifndef DISSONANCE_LAB_FINETUNE_CHECKPOINT_OUTPUTS_H_
#define DISSONANCE_LAB_FINETUNE_CHECKPOINT_OUTPUTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/internal/v1/training.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

class CheckpointOutputs {
 public:
  CheckpointOutputs(JobContext& job, AdapterRegistrar& registrar,
                    const v1::FineTuneSpec& spec, int64_t keep_count)
      : job_(job), registrar_(registrar), spec_(spec), keep_(keep_count) {}

  // Finds what earlier attempts left: complete pairs of steps that are
  // recorded; the rest is removed.
  absl::Status Recover(int64_t recorded_step_count);

  // Of complete pairs, oldest first.
  const std::set<int64_t>& steps() const { return steps_; }

  // The state's bytes. As JobContext::ReadOutput.
  absl::Status ReadState(
      int64_t step, absl::FunctionRef<absl::Status(std::string piece)> take);

  // Makes those that are there adapters, if they are to be and the job is no
  // replay; `config` names the artifact with adapter_config.json. From then on
  // new ones are too.
  absl::Status RegisterAll(const std::string& config);
  // Forgets the adapters of all.
  absl::Status UnregisterAll();

  // Begins a checkpoint, takes its pieces, and once both files are whole,
  // stores them, forgets the oldest beyond keep_count, and is done. A failure,
  // e.g. RESOURCE_EXHAUSTED with path and bytes, leaves nothing of it, and
  // those before it as they are. A checkpoint that is there already is only
  // read to its end.
  absl::Status Begin(int64_t step);
  absl::Status Append(const internal::v1::SnapshotChunk& chunk);
  // Whether one is under way.
  bool is_open() const { return open_step_.has_value(); }

  // Forgets a pair, e.g. one that nothing can go on from.
  absl::Status Remove(int64_t step);

 private:
  absl::Status Complete();
  absl::Status Register(int64_t step);
  absl::Status Unregister(int64_t step);
  // The artifact of a checkpoint's weights; empty if there is none.
  absl::StatusOr<std::string> WeightsOf(int64_t step);

  JobContext& job_;
  AdapterRegistrar& registrar_;
  const v1::FineTuneSpec& spec_;
  const int64_t keep_;
  std::string config_;  // empty: none is to be an adapter yet
  std::set<int64_t> steps_;
  std::optional<int64_t> open_step_;
  bool skips_ = false;  // what is open is there already
  std::unique_ptr<OutputWriter> weights_;
  std::unique_ptr<OutputWriter> state_;
  int finished_count_ = 0;  // files that are whole
};

// Forgets the checkpoint adapters that a server which died left of a job; one
// that stays is logged, as it is no reason not to start. Does nothing for other
// kinds of jobs.
void ForgetCheckpointAdapters(const v1::Job& job, AdapterRegistrar& registrar);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_CHECKPOINT_OUTPUTS_H_
