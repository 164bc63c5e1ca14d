// The job kind judge: a hosted model judges free answers, one at a time: which
// world each is of, and its signs of doubt and difficulty. A reply that can't
// be read as a verdict is asked for again; what can't be read in the end is an
// error row with its texts, never a 0.
//
// Recorded items are the replies, in the order of their coming. All files are
// made of replies alone, so a job that was interrupted gives the same bytes as
// one that was not, except where the endpoint gave no reply, and no reply is
// asked for twice. Thread safe; `endpoints` and `jobs` must outlive the kind.
//
//   Judge kind(endpoints, jobs);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_JUDGE_JUDGE_H_
#define DISSONANCE_LAB_JUDGE_JUDGE_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {

class Judge : public JobKind {
 public:
  Judge(ChatEndpoints& endpoints, FinishedJobs& jobs)
      : endpoints_(endpoints), jobs_(jobs) {}

  // INVALID_ARGUMENT naming the field, or file, line and field of an answer;
  // NOT_FOUND for a job that is named. Asks no model.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if the endpoint refuses to work; if it gave no reply
  // for some answers, which run again asks for those alone; if no answer at all
  // could be judged. In the last two cases the files are there.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  JobPlace Place(const v1::JobSpec& /*spec*/) override {
    return JobPlace::kEndpoint;
  }

 private:
  ChatEndpoints& endpoints_;
  FinishedJobs& jobs_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_H_
