// The job kind steering_sweep: steers a network along directions, block by
// block and coefficient by coefficient, and asks multiple-choice questions each
// time.
//
// Recorded items are, in order: the lengths of the rows, each setting of the
// grid with the scores of all questions, settings between the best ones, random
// directions at the best setting, samples. What later settings are follows from
// the records before them, and files are made of records alone, so a job that
// was interrupted gives the same bytes as one that was not. Stateless and
// thread safe; `compute` must outlive the kind.
//
//   SteeringSweep kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_INTERP_STEERING_SWEEP_H_
#define DISSONANCE_LAB_INTERP_STEERING_SWEEP_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class SteeringSweep : public JobKind {
 public:
  struct Options {
    // Questions times settings of one Score request, and so of one transaction
    // of the record: enough to fill batches with mixed settings.
    int sequences_per_request = 256;
  };

  explicit SteeringSweep(InterpClient& compute)
      : SteeringSweep(compute, Options()) {}
  SteeringSweep(InterpClient& compute, Options options)
      : compute_(compute), options_(options) {}

  // INVALID_ARGUMENT with file, line and field for bad questions, or naming the
  // field of the spec; CheckVariant's status. Computes nothing.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
  const Options options_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_SWEEP_H_
