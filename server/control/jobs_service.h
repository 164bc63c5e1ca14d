// The public Jobs service over JobManager. Thread safe. Borrows its parts;
// streams must be ended before it is destroyed.
#ifndef DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "server/control/direction_resolver.h"
#include "server/control/job_stream.h"
#include "server/control/model_access.h"
#include "server/control/open_calls.h"
#include "server/control/quotas.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

struct JobsParts {
  JobManager& jobs;
  JobStore& store;
  TokenStore& tokens;
  const ModelAccess& access;
  const DirectionResolver& directions;
  ArtifactStore& artifacts;
  const Quotas& quotas;
  OpenCalls& streams;
  // If set, told of each pipeline that was cancelled.
  std::function<absl::Status(const v1::Job& pipeline)> pipeline_cancelled = {};
};

class JobsService final : public v1::Jobs::CallbackService {
 public:
  using Context = grpc::CallbackServerContext;

  explicit JobsService(const JobsParts& parts)
      : parts_(parts), jobs_(parts.jobs) {}

  grpc::ServerWriteReactor<v1::RunJobResponse>* RunJob(
      Context* context, const v1::RunJobRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      Context* context, const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* CreateJob(Context* context,
                                      const v1::CreateJobRequest* request,
                                      v1::CreateJobResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(Context* context,
                                   const v1::GetJobRequest* request,
                                   v1::GetJobResponse* response) override;
  grpc::ServerUnaryReactor* ListJobs(Context* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(Context* context,
                                      const v1::CancelJobRequest* request,
                                      v1::CancelJobResponse* response) override;
  grpc::ServerUnaryReactor* RetryJob(Context* context,
                                     const v1::RetryJobRequest* request,
                                     v1::RetryJobResponse* response) override;
  grpc::ServerUnaryReactor* PauseJob(Context* context,
                                     const v1::PauseJobRequest* request,
                                     v1::PauseJobResponse* response) override;
  grpc::ServerUnaryReactor* ResumeJob(Context* context,
                                      const v1::ResumeJobRequest* request,
                                      v1::ResumeJobResponse* response) override;
  grpc::ServerUnaryReactor* DeleteJob(Context* context,
                                      const v1::DeleteJobRequest* request,
                                      v1::DeleteJobResponse* response) override;
  grpc::ServerUnaryReactor* ReplayJob(Context* context,
                                      const v1::ReplayJobRequest* request,
                                      v1::ReplayJobResponse* response) override;
  grpc::ServerUnaryReactor* CompareJobs(
      Context* context, const v1::CompareJobsRequest* request,
      v1::CompareJobsResponse* response) override;

 private:
  template <typename Response>
  grpc::ServerWriteReactor<Response>* Open(JobStreamOptions options,
                                           const Response& first);
  // That the caller may make a job of this spec, as far as it is about users.
  absl::Status CheckMayCreate(const Principal& caller,
                              const v1::JobSpec& spec) const;
  // That the caller sees the jobs whose files it reads.
  absl::Status CheckReadsJobs(const Principal& caller,
                              const v1::JobSpec& spec) const;
  // The job that the request made when what it names was still there, whose
  // numbers it has; `none` if there is none of that kind.
  absl::StatusOr<v1::Job> MadeFirst(const v1::JobSpec& spec,
                                    const CreateJobOptions& options,
                                    const absl::Status& none) const;
  absl::StatusOr<v1::Job> Create(const Principal& caller,
                                 const v1::JobSpec& spec,
                                 const CreateJobOptions& options);

  const JobsParts parts_;
  JobManager& jobs_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_
