// The job kind fine_tune: trains a LoRA adapter on documents, on the weights
// that the worker has resident.
//
// One recorded item is one optimizer step. Checkpoints are outputs of the job;
// an attempt goes on from the newest, computes what was recorded after it again
// and compares, so a job that was killed anywhere gives the same bytes as one
// that was not. What comes out is registered as an adapter. Stateless and
// thread safe; what it borrows must outlive it.
//
//   FineTune kind({.compute = compute, .training = training,
//                  .registrar = registrar, .clock = clock});
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_FINETUNE_FINE_TUNE_H_
#define DISSONANCE_LAB_FINETUNE_FINE_TUNE_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/finetune/fine_tune_attempt.h"
#include "src/lab/finetune/training_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class FineTune : public JobKind {
 public:
  explicit FineTune(const FineTuneParts& parts) : parts_(parts) {}

  // INVALID_ARGUMENT with file, line and field for bad documents or questions,
  // or naming the field of the spec; CheckVariant's status for a model or
  // adapter that is not there; ALREADY_EXISTS if output_adapter is taken and is
  // not to be replaced. Computes nothing.
  absl::Status Validate(const v1::JobSpec& spec) override;
  // The same; output_adapter may be there.
  absl::Status ValidateReplay(const v1::JobSpec& spec) override;

  // RESOURCE_EXHAUSTED, with figures, if it does not fit into memory, or with
  // path and bytes if a disk is full: earlier checkpoints stay, and the next
  // attempt goes on from there. FAILED_PRECONDITION if what it trains was
  // replaced since it began.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its model.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  const FineTuneParts parts_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_FINE_TUNE_H_
