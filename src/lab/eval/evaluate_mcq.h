// The job kind evaluate_mcq: variants of a network answer the same
// multiple-choice questions side by side.
//
// One recorded item is one question: its prompt and the raw scores that every
// variant gave. Everything else (predictions, groups, comparison) is computed
// from the records when all are there, so a job that was interrupted gives the
// same bytes as one that was not. Stateless and thread safe; `compute` must
// outlive the kind.
//
//   EvaluateMcq kind(compute);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_EVAL_EVALUATE_MCQ_H_
#define DISSONANCE_LAB_EVAL_EVALUATE_MCQ_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/jobs/job_kind.h"

namespace dissonance {

class EvaluateMcq : public JobKind {
 public:
  struct Options {
    // Questions of one Score request and of one transaction of the record:
    // enough to fill a batch, few enough that progress is smooth and little is
    // computed again after a crash. Fewer are taken with many dropout samples.
    int questions_per_batch = 8;
  };

  explicit EvaluateMcq(ComputeClient& compute)
      : EvaluateMcq(compute, Options()) {}
  EvaluateMcq(ComputeClient& compute, Options options)
      : compute_(compute), options_(options) {}

  // INVALID_ARGUMENT with file, line and field for a bad MCQ file, or naming
  // the field of the spec; CheckVariant's status for a variant that is not
  // there. Computes nothing.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the job has records of a model, adapter or
  // tokenizer that has been replaced since.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  // The weights of its models.
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  ComputeClient& compute_;
  const Options options_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_EVALUATE_MCQ_H_
