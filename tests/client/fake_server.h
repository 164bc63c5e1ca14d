// A server with canned answers on a unix socket, with the real services' names
// and the real health service. Thread safe; the socket goes with the object.
//
//   FakeServer server(directory + "/dissonance.sock", "secret");
//   server.AddModel("tiny", 12345);
//   server.AddStream({.events = {...}, .end = grpc::Status::OK});
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_SERVER_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_SERVER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "grpcpp/server.h"
#include "tests/client/fake_admin.h"
#include "tests/client/fake_artifacts.h"
#include "tests/client/fake_directions.h"
#include "tests/client/fake_inference.h"
#include "tests/client/fake_interpretability.h"
#include "tests/client/request_log.h"

namespace dissonance {

// What one WatchJob call does.
struct WatchStream {
  std::vector<v1::JobEvent> events = {};
  // Sends the job as it is stored, as last message.
  bool complete = false;
  // Stays open until the server goes.
  bool hang = false;
  grpc::Status end = grpc::Status::OK;
};

class FakeServer final : public v1::Models::Service, public v1::Jobs::Service {
 public:
  // Calls need "Bearer TOKEN"; listens at once.
  FakeServer(const std::string& socket_path, const std::string& token);
  ~FakeServer() override;

  void AddModel(const std::string& name, int64_t parameter_count,
                const std::string& tokenizer_digest = "");
  void AddAdapter(const std::string& model, const std::string& name);
  void AddJob(const v1::Job& job);
  // What calls need from now on.
  void SetToken(const std::string& token);
  void SetComparison(const v1::CompareJobsResponse& comparison);
  // The next WatchJob calls, in order; the last one repeats.
  void AddStream(WatchStream stream);
  // The next `count` calls fail so.
  void FailWith(const grpc::Status& status, int count = 1);
  // What SelfCheck answers.
  void SetInvariants(std::vector<v1::Invariant> invariants);
  // Outputs that a created job will have.
  void SetOutputs(const std::map<std::string, std::string>& files);
  // File names of these and their artifacts.
  using Outputs = std::map<std::string, std::string>;
  Outputs outputs();

  FakeInference& inference() { return inference_; }
  FakeInterpretability& interpretability() { return interpretability_; }
  FakeArtifacts& artifacts() { return artifacts_; }
  FakeDirections& directions() { return directions_; }
  FakeAdmin& admin() { return admin_; }

  std::vector<int64_t> watch_cursors();
  std::vector<std::string> cancelled_jobs();
  std::vector<v1::CreateJobRequest> created();
  RequestLog& log() { return log_; }

  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse*) override;
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse*) override;
  grpc::Status LoadModel(grpc::ServerContext*, const v1::LoadModelRequest*,
                         v1::LoadModelResponse*) override;
  grpc::Status SelfCheck(grpc::ServerContext*, const v1::SelfCheckRequest*,
                         v1::SelfCheckResponse*) override;
  grpc::Status ListAdapters(grpc::ServerContext*,
                            const v1::ListAdaptersRequest*,
                            v1::ListAdaptersResponse*) override;
  grpc::Status GetAdapter(grpc::ServerContext*, const v1::GetAdapterRequest*,
                          v1::GetAdapterResponse*) override;
  grpc::Status UpdateModel(grpc::ServerContext*, const v1::UpdateModelRequest*,
                           v1::UpdateModelResponse*) override;
  grpc::Status RegisterAdapter(grpc::ServerContext*,
                               const v1::RegisterAdapterRequest*,
                               v1::RegisterAdapterResponse*) override;
  grpc::Status UpdateAdapter(grpc::ServerContext*,
                             const v1::UpdateAdapterRequest*,
                             v1::UpdateAdapterResponse*) override;
  grpc::Status CreateJob(grpc::ServerContext*, const v1::CreateJobRequest*,
                         v1::CreateJobResponse*) override;
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest*,
                      v1::GetJobResponse*) override;
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest*,
                        v1::ListJobsResponse*) override;
  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest*,
                         v1::CancelJobResponse*) override;
  grpc::Status PauseJob(grpc::ServerContext*, const v1::PauseJobRequest*,
                        v1::PauseJobResponse*) override;
  grpc::Status ResumeJob(grpc::ServerContext*, const v1::ResumeJobRequest*,
                         v1::ResumeJobResponse*) override;
  grpc::Status ReplayJob(grpc::ServerContext*, const v1::ReplayJobRequest*,
                         v1::ReplayJobResponse*) override;
  grpc::Status CompareJobs(grpc::ServerContext*, const v1::CompareJobsRequest*,
                           v1::CompareJobsResponse*) override;
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::WatchJobResponse>*) override;

 private:
  grpc::Status Check(const grpc::ServerContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);
  grpc::Status Send(const WatchStream& stream, const v1::Job& job,
                    grpc::ServerWriter<v1::WatchJobResponse>& writer);

  absl::Notification stopping_;
  RequestLog log_;
  absl::Mutex mutex_;
  std::string token_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::Model> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::Adapter> adapters_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::Job> jobs_ ABSL_GUARDED_BY(mutex_);
  v1::CompareJobsResponse comparison_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> outputs_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Invariant> invariants_ ABSL_GUARDED_BY(mutex_);
  std::deque<WatchStream> streams_ ABSL_GUARDED_BY(mutex_);
  grpc::Status failure_ ABSL_GUARDED_BY(mutex_);
  int failure_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> watch_cursors_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> cancelled_jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::CreateJobRequest> created_ ABSL_GUARDED_BY(mutex_);
  FakeInference inference_;
  FakeInterpretability interpretability_;
  FakeArtifacts artifacts_;
  FakeDirections directions_;
  FakeAdmin admin_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_SERVER_H_
