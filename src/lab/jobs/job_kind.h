// What a kind of experiment has to provide. A kind computes a job's items in
// order and records them as it goes; after a crash it is run again and goes on
// at the first item that was not recorded.
//
//   absl::Status EvaluateMcq::Run(const v1::JobSpec& spec, JobContext& job) {
//     ASSIGN_OR_RETURN(std::vector<std::string> done, job.RecordedItems());
//     for (size_t i = done.size(); i < total; i += batch.size()) {
//       if (job.cancelled()) return absl::CancelledError("cancelled");
//       ...
//       RETURN_IF_ERROR(job.RecordItems(i, batch, total, "questions"));
//     }
//     return job.AddOutput("report.json", "application/json", report,
//                          OutputKind::kResult);
//   }
#ifndef DISSONANCE_LAB_JOBS_JOB_KIND_H_
#define DISSONANCE_LAB_JOBS_JOB_KIND_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/job_context.h"
#include "src/lab/jobs/scheduler.h"
#include "src/lab/storage/job_place.h"

namespace dissonance {

// A kind of experiment. Stateless; shared by all jobs of the kind.
class JobKind {
 public:
  virtual ~JobKind() = default;

  // Checks a spec before the job is acknowledged. INVALID_ARGUMENT with file,
  // line and field, or NOT_FOUND for a model or adapter that does not exist.
  virtual absl::Status Validate(const v1::JobSpec& spec) = 0;

  // The same for a job that is run again, as ReplayJob does, whose results
  // may be there.
  virtual absl::Status ValidateReplay(const v1::JobSpec& spec) {
    return Validate(spec);
  }

  // Runs or resumes a job; `spec` has its data also where the job names an
  // artifact instead. OK: SUCCEEDED. CANCELLED: CANCELLED, or QUEUED again
  // when the server, and not the user, stopped it. UNAVAILABLE: the worker was
  // lost, QUEUED again. Anything else: FAILED with the message.
  virtual absl::Status Run(const v1::JobSpec& spec, JobContext& job) = 0;

  // Which place a job takes while it runs. Must be quick.
  virtual JobPlace Place(const v1::JobSpec& /*spec*/) {
    return JobPlace::kDevice;
  }

  // What a job keeps on the device while it runs; empty if unknown or nothing.
  // Must be quick.
  virtual DeviceMemory Memory(const v1::JobSpec& /*spec*/) { return {}; }
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_KIND_H_
