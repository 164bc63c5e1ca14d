// The job kind train_probes: linear probes of what a set of prompts differs in,
// at places of a network, with their controls, and maps of principal
// components.
//
// Where a target is what the variants answer, one recorded item is a question
// and what each of them chose; then one item is a place and all that came of
// it. The files are made of the records when all are there, so a job that was
// interrupted gives the same bytes as one that was not, and asks only for the
// places that it lacks. Stateless and thread safe; what it borrows must outlive
// it.
//
//   TrainProbes kind(compute, finished_jobs);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_INTERP_TRAIN_PROBES_H_
#define DISSONANCE_LAB_INTERP_TRAIN_PROBES_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/finished_jobs.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class TrainProbes : public JobKind {
 public:
  TrainProbes(InterpClient& compute, FinishedJobs& jobs)
      : compute_(compute), jobs_(jobs) {}

  // INVALID_ARGUMENT with file, line and field for bad rows, or naming the
  // field of the spec: a label that no row has, one class only, fewer rows than
  // folds, a place that the model does not have.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since, or if no target can be fitted once the answers are known.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its models; none with an activations_job.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
  FinishedJobs& jobs_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_TRAIN_PROBES_H_
