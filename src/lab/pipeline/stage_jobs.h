// What a pipeline needs of the server: jobs of its owner's for its stages, and
// what networks are. The control plane implements it; tests in memory. Thread
// safe.
//
//   ASSIGN_OR_RETURN(v1::Job job, jobs.Create("ada", spec, request_id,
//                                             v1::JOB_PRIORITY_NORMAL));
//   jobs.AwaitNews({job.name()}, absl::Milliseconds(250));
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_JOBS_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_JOBS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"

namespace dissonance {

class StageJobs {
 public:
  virtual ~StageJobs() = default;

  // Whether a job of this spec could be made, as far as can be said before.
  virtual absl::Status Check(const v1::JobSpec& spec) = 0;
  // As JobManager::CreateJob: the job made first for a request_id that was
  // there. UNAVAILABLE and RESOURCE_EXHAUSTED: later.
  virtual absl::StatusOr<v1::Job> Create(const std::string& owner,
                                         const v1::JobSpec& spec,
                                         const std::string& request_id,
                                         v1::JobPriority priority) = 0;
  // Runs the job that a request made again, as JobManager::Replay; NOT_FOUND if
  // there is none, FAILED_PRECONDITION if it did not succeed.
  virtual absl::StatusOr<v1::Job> Replay(const std::string& owner,
                                         const std::string& first_request,
                                         const std::string& request_id,
                                         v1::JobPriority priority) = 0;
  // Without data. NOT_FOUND.
  virtual absl::StatusOr<v1::Job> Get(const std::string& owner,
                                      const std::string& name) = 0;
  virtual absl::Status Retry(const std::string& owner,
                             const std::string& name) = 0;
  virtual absl::Status Cancel(const std::string& owner,
                              const std::string& name) = 0;
  // Registers the adapter that a training made, from its files, unless it is
  // there and loaded: it may have been forgotten since.
  virtual absl::Status EnsureAdapter(const std::string& owner,
                                     const v1::Job& training,
                                     const std::string& adapter) = 0;
  // All that tells a model or an adapter, its digest among it. NOT_FOUND.
  virtual absl::StatusOr<std::string> NetworkDigest(
      const std::string& network) = 0;
  // NOT_FOUND.
  virtual absl::StatusOr<v1::Model> GetModel(const std::string& name) = 0;
  // A whole output. NOT_FOUND; DATA_LOSS if it is damaged.
  virtual absl::StatusOr<std::string> ReadOutput(
      const v1::Job& job, absl::string_view file_name) = 0;
  // Returns when one of the jobs has news, or after `most`.
  virtual void AwaitNews(const std::vector<std::string>& jobs,
                         absl::Duration most) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_JOBS_H_
