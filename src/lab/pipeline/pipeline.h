// The job kind pipeline: an experiment of several jobs. It makes a job for each
// stage as soon as what the stage takes is there, waits, judges gates, and
// makes the report.
//
// A stage's job has a request id that follows from all that its result depends
// on (stage_digest.h): a pipeline that runs again, after a crash, a retry or
// with other stages changed, finds the jobs that it made before and computes
// nothing twice. Recorded items are the stages that have ended. It uses no
// device and takes no place of the jobs it waits for. Thread safe; what it
// borrows must outlive it.
//
//   Pipeline kind(jobs, CodeVersion());
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_PIPELINE_PIPELINE_H_
#define DISSONANCE_LAB_PIPELINE_PIPELINE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/base/clock.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/pipeline/stage_jobs.h"

namespace dissonance {

class Pipeline : public JobKind {
 public:
  // `release`: another one computes all stages again. The clock outlives it.
  Pipeline(StageJobs& jobs, std::string release,
           const Clock& clock = Clock::Real())
      : jobs_(jobs), release_(std::move(release)), clock_(clock) {}

  // As PlanPipeline; and, as for jobs of their own, what stages are asked, with
  // stand-ins for what is yet to be made (stage_stand_in.h). Where too little
  // is known, as of rows that a stage writes, they are checked when their jobs
  // are made.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if a stage failed, naming it, its job and why; if a
  // gate aborted, with the report written; if networks or inputs have changed
  // since a stage was recorded.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  JobPlace Place(const v1::JobSpec& /*spec*/) override {
    return JobPlace::kPipeline;
  }

 private:
  StageJobs& jobs_;
  const std::string release_;
  const Clock& clock_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_PIPELINE_H_
