// The public Jobs service over JobManager. Thread safe. Borrows manager and
// tokens; streams must be ended before it is destroyed.
#ifndef DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "server/control/job_stream.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

class JobsService final : public v1::Jobs::CallbackService {
 public:
  using Context = grpc::CallbackServerContext;

  JobsService(JobManager& jobs, TokenStore& tokens)
      : jobs_(jobs), tokens_(tokens) {}

  // Ends all RunJob and WatchJob streams with `status`, those to come too.
  void EndStreams(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

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
  grpc::ServerUnaryReactor* DeleteJob(Context* context,
                                      const v1::DeleteJobRequest* request,
                                      v1::DeleteJobResponse* response) override;

 private:
  template <typename Response>
  grpc::ServerWriteReactor<Response>* Open(JobStreamOptions options,
                                           const Response& first)
      ABSL_LOCKS_EXCLUDED(mutex_);

  JobManager& jobs_;
  TokenStore& tokens_;
  absl::Mutex mutex_;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // not OK: streams end so
  std::vector<std::weak_ptr<OpenStream>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_JOBS_SERVICE_H_
