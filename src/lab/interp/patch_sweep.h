// The job kind patch_sweep: rows of one network put into another's pass, prompt
// by prompt, block by block and position by position, and a map of what they
// carry over.
//
// One recorded item is one prompt with all its patches; files are made of the
// records when all are there, so a job that was interrupted gives the same
// bytes as one that was not. Stateless and thread safe; `compute` must outlive
// the kind.
//
//   PatchSweep kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_INTERP_PATCH_SWEEP_H_
#define DISSONANCE_LAB_INTERP_PATCH_SWEEP_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class PatchSweep : public JobKind {
 public:
  explicit PatchSweep(InterpClient& compute) : compute_(compute) {}

  // INVALID_ARGUMENT with file, line and field for bad prompts, or naming the
  // field of the spec; CheckVariant's status. Computes nothing.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PATCH_SWEEP_H_
