// The job kind evaluate_open: variants of a network answer the same questions
// freely.
//
// One recorded item is a question and all answers to it. The files are made of
// the records when all are there, so a job that was interrupted gives the same
// bytes as one that was not. Stateless and thread safe; `compute` must outlive
// the kind.
//
//   EvaluateOpen kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_ANSWERS_EVALUATE_OPEN_H_
#define DISSONANCE_LAB_ANSWERS_EVALUATE_OPEN_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class EvaluateOpen : public JobKind {
 public:
  explicit EvaluateOpen(InterpClient& compute) : compute_(compute) {}

  // INVALID_ARGUMENT with file, line and field for bad questions, or naming the
  // field of the spec; CheckVariant's status for a variant that is not there.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a network that has been
  // replaced since.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its models.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  InterpClient& compute_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_EVALUATE_OPEN_H_
