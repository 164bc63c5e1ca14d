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

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class TrainProbes : public JobKind {
 public:
  struct Options {
    // That the rows of one place and all variants may take: they travel in one
    // message, of 256 MiB by default.
    int64_t rows_bytes = int64_t{200} << 20;
  };

  TrainProbes(InterpClient& compute, FinishedJobs& jobs)
      : TrainProbes(compute, jobs, Options()) {}
  TrainProbes(InterpClient& compute, FinishedJobs& jobs, const Options& options)
      : compute_(compute), jobs_(jobs), options_(options) {}

  // INVALID_ARGUMENT with file, line and field for bad rows, or naming the
  // field of the spec: a label that no row has, one class only, fewer rows than
  // folds, a place that the model does not have, an activations_job with more
  // rows than a message has room for.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since, or if no target can be fitted once the answers are known.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its models; none with an activations_job.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  absl::Status CheckRowsBytes(const v1::Job& source,
                              const std::vector<v1::Variant>& variants);

  InterpClient& compute_;
  FinishedJobs& jobs_;
  const Options options_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_TRAIN_PROBES_H_
