// The job kind evaluate_mcq for hosted chat models, which answer in words: the
// letter is read from the answer. A reply without one is asked for again, and
// in the end is an error and no answer: it counts neither as right nor as
// wrong. Jobs of resident models go to the other kind.
//
// Recorded items are the replies, so a job that was interrupted asks nothing
// twice and gives the same bytes.
// hosted_predictions_0.jsonl, _1: a line a question, {category, correct,
//   difficulty, error, false_answer, id, is_correct, model, pred, raw_texts,
//   world_label}; pred and is_correct are null where error is not.
// hosted_report.json: each model's groups and false-belief rate over what it
//   answered, its errors; of two models also McNemar's p and what they answer
//   differently, over the questions that both answered.
// Thread safe; what it is made with must outlive it.
//
//   HostedMcq kind(endpoints, evaluate_mcq);
#ifndef DISSONANCE_LAB_HOSTED_HOSTED_MCQ_H_
#define DISSONANCE_LAB_HOSTED_HOSTED_MCQ_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {

class HostedMcq : public JobKind {
 public:
  HostedMcq(ChatEndpoints& endpoints, JobKind& resident)
      : endpoints_(endpoints), resident_(resident) {}

  // INVALID_ARGUMENT naming file, line and field, or the field of the spec.
  absl::Status Validate(const v1::JobSpec& spec) override;
  // FAILED_PRECONDITION if an endpoint refuses to work, and, with the files
  // written, if a question got no reply or no reply a letter.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;
  JobPlace Place(const v1::JobSpec& spec) override;
  DeviceMemory Memory(const v1::JobSpec& spec) override;

 private:
  ChatEndpoints& endpoints_;
  JobKind& resident_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_HOSTED_HOSTED_MCQ_H_
