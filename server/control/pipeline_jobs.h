// StageJobs over the server's jobs and records. Thread safe. Borrows its parts;
// Serve has to be called before the first pipeline runs.
//
//   PipelineJobs stage_jobs({records.jobs, ...});
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
#include "server/control/quotas.h"
#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/pipeline/stage_jobs.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/model_store.h"

namespace dissonance {

class PipelineJobs final : public StageJobs {
 public:
  struct Parts {
    JobStore& store;
    ModelStore& models;
    FinishedJobs& finished;
    AdapterRegistrar& registrar;
    const Quotas& quotas;
  };

  explicit PipelineJobs(const Parts& parts) : parts_(parts) {}

  // Kinds are made before the manager that runs them.
  void Serve(JobManager& jobs) { jobs_ = &jobs; }

  // Cancels what a cancelled pipeline's stages still run; it may not run
  // itself.
  absl::Status CancelStagesOf(const v1::Job& pipeline);

  absl::Status Check(const v1::JobSpec& spec) override;
  absl::StatusOr<v1::Job> Create(const std::string& owner,
                                 const v1::JobSpec& spec,
                                 const std::string& request_id,
                                 v1::JobPriority priority) override;
  absl::StatusOr<v1::Job> Replay(const std::string& owner,
                                 const std::string& first_request,
                                 const std::string& request_id,
                                 v1::JobPriority priority) override;
  absl::StatusOr<v1::Job> Get(const std::string& owner,
                              const std::string& name) override;
  absl::Status Retry(const std::string& owner,
                     const std::string& name) override;
  absl::Status Cancel(const std::string& owner,
                      const std::string& name) override;
  absl::Status EnsureAdapter(const std::string& owner, const v1::Job& training,
                             const std::string& adapter) override;
  absl::StatusOr<std::string> NetworkDigest(
      const std::string& network) override;
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override;
  absl::StatusOr<std::string> ReadOutput(const v1::Job& job,
                                         absl::string_view file_name) override;
  void AwaitNews(const std::vector<std::string>& jobs,
                 absl::Duration most) override;

 private:
  const Parts parts_;
  JobManager* jobs_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_PIPELINE_JOBS_H_
