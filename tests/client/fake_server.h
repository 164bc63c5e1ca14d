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
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "grpcpp/server.h"
#include "tests/client/fake_inference.h"
#include "tests/client/fake_interpretability.h"

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

class FakeServer final : public v1::Models::Service,
                         public v1::Jobs::Service,
                         public v1::Artifacts::Service,
                         public v1::Admin::Service {
 public:
  // Calls need "Bearer TOKEN"; listens at once.
  FakeServer(const std::string& socket_path, const std::string& token);
  ~FakeServer() override;

  void AddModel(const std::string& name, int64_t parameter_count,
                const std::string& tokenizer_digest = "");
  void AddAdapter(const std::string& model, const std::string& name);
  void AddJob(const v1::Job& job);
  // Returns the artifact's name.
  std::string AddArtifact(const std::string& contents);
  // Sends these bytes for an artifact instead of its own.
  void Damage(const std::string& name, const std::string& contents);
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

  FakeInterpretability& interpretability() { return interpretability_; }

  // What was asked for.
  std::vector<int64_t> watch_cursors();
  std::vector<std::string> cancelled_jobs();
  std::vector<v1::CreateJobRequest> created();
  v1::LoadModelRequest last_load();
  FakeInference& inference() { return inference_; }

  // Models
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
  // Jobs
  grpc::Status CreateJob(grpc::ServerContext*, const v1::CreateJobRequest*,
                         v1::CreateJobResponse*) override;
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest*,
                      v1::GetJobResponse*) override;
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest*,
                        v1::ListJobsResponse*) override;
  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest*,
                         v1::CancelJobResponse*) override;
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::WatchJobResponse>*) override;
  // Artifacts
  grpc::Status ListArtifacts(grpc::ServerContext*,
                             const v1::ListArtifactsRequest*,
                             v1::ListArtifactsResponse*) override;
  grpc::Status ReadArtifact(
      grpc::ServerContext*, const v1::ReadArtifactRequest*,
      grpc::ServerWriter<v1::ReadArtifactResponse>*) override;
  // Admin
  grpc::Status ServerInfo(grpc::ServerContext*, const v1::ServerInfoRequest*,
                          v1::ServerInfoResponse*) override;

 private:
  // Token and FailWith.
  grpc::Status Check(const grpc::ServerContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes the answers of one stream.
  grpc::Status Send(const WatchStream& stream, const v1::Job& job,
                    grpc::ServerWriter<v1::WatchJobResponse>& writer);

  const std::string token_;
  absl::Notification stopping_;
  absl::Mutex mutex_;
  std::map<std::string, v1::Model> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::Adapter> adapters_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::Job> jobs_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> artifacts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> outputs_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Invariant> invariants_ ABSL_GUARDED_BY(mutex_);
  std::deque<WatchStream> streams_ ABSL_GUARDED_BY(mutex_);
  grpc::Status failure_ ABSL_GUARDED_BY(mutex_);
  int failure_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> watch_cursors_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> cancelled_jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::CreateJobRequest> created_ ABSL_GUARDED_BY(mutex_);
  v1::LoadModelRequest last_load_ ABSL_GUARDED_BY(mutex_);
  FakeInference inference_;
  FakeInterpretability interpretability_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_SERVER_H_
