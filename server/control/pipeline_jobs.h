// StageJobs over the server's jobs and records. Thread safe. Borrows its parts;
// Serve has to be called before the first pipeline runs.
//
//   PipelineJobs stage_jobs(records, finished_jobs);
//   Experiments experiments({.stage_jobs = stage_jobs, ...});
//   stage_jobs.Serve(*jobs);
#ifndef DISSONANCE_SERVER_CONTROL_PIPELINE_JOBS_H_
#define DISSONANCE_SERVER_CONTROL_PIPELINE_JOBS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/pipeline/stage_jobs.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/model_store.h"

namespace dissonance {

class PipelineJobs final : public StageJobs {
 public:
  PipelineJobs(JobStore& store, ModelStore& models, FinishedJobs& finished)
      : store_(store), models_(models), finished_(finished) {}

  // Kinds are made before the manager that runs them.
  void Serve(JobManager& jobs) { jobs_ = &jobs; }

  absl::Status Check(const v1::JobSpec& spec) override;
  absl::StatusOr<v1::Job> Create(const std::string& owner,
                                 const v1::JobSpec& spec,
                                 const std::string& request_id,
                                 v1::JobPriority priority) override;
  absl::StatusOr<v1::Job> Get(const std::string& owner,
                              const std::string& name) override;
  absl::Status Retry(const std::string& owner,
                     const std::string& name) override;
  absl::Status Cancel(const std::string& owner,
                      const std::string& name) override;
  absl::StatusOr<std::string> NetworkDigest(
      const std::string& network) override;
  absl::StatusOr<std::string> ReadOutput(const v1::Job& job,
                                         absl::string_view file_name) override;
  void AwaitNews(const std::vector<std::string>& jobs,
                 absl::Duration most) override;

 private:
  JobStore& store_;
  ModelStore& models_;
  FinishedJobs& finished_;
  JobManager* jobs_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_PIPELINE_JOBS_H_
