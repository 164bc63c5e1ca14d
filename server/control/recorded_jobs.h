// FinishedJobs over the server's records. Thread safe. Borrows both stores.
//
//   RecordedJobs jobs(records.jobs, *records.artifacts);
//   ASSIGN_OR_RETURN(v1::Job job, jobs.Find("jobs/01J..."));
#ifndef DISSONANCE_SERVER_CONTROL_RECORDED_JOBS_H_
#define DISSONANCE_SERVER_CONTROL_RECORDED_JOBS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {

class RecordedJobs final : public FinishedJobs {
 public:
  RecordedJobs(JobStore& jobs, ArtifactStore& artifacts)
      : jobs_(jobs), artifacts_(artifacts) {}

  absl::StatusOr<v1::Job> Find(const std::string& name) override;
  absl::StatusOr<std::string> ReadOutput(const v1::Job& job,
                                         absl::string_view file_name) override;

 private:
  JobStore& jobs_;
  ArtifactStore& artifacts_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_RECORDED_JOBS_H_
