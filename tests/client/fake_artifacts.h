// The Artifacts service in memory, with uploads that can be broken off. Thread
// safe.
//
//   FakeArtifacts artifacts([](const auto&) { return grpc::Status::OK; });
//   builder.RegisterService(&artifacts);
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_ARTIFACTS_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_ARTIFACTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "tests/client/request_log.h"

namespace dissonance {

class FakeArtifacts final : public v1::Artifacts::Service {
 public:
  // `check` decides whether a call is answered.
  explicit FakeArtifacts(
      std::function<grpc::Status(const grpc::ServerContext&)> check);

  // Returns the artifact's name.
  std::string Add(const std::string& contents);
  // Sends these bytes for an artifact instead of its own.
  void Damage(const std::string& name, const std::string& contents);
  // The next `count` uploads end UNAVAILABLE when `after_bytes` of them have
  // come.
  void BreakUploads(int count, int64_t after_bytes);
  // What comes of uploads that break is not kept.
  void ForgetUploads();
  // Uploads end so, before anything is read.
  void RefuseUploads(const grpc::Status& status);
  // Bytes of an artifact; empty if there is none.
  std::string contents(const std::string& name);
  // Metadata of the calls but the uploads, and each upload's first message
  // without its data.
  RequestLog& log() { return log_; }
  // The largest piece that came.
  size_t largest_piece();

  grpc::Status GetArtifact(grpc::ServerContext*, const v1::GetArtifactRequest*,
                           v1::GetArtifactResponse*) override;
  grpc::Status ListArtifacts(grpc::ServerContext*,
                             const v1::ListArtifactsRequest*,
                             v1::ListArtifactsResponse*) override;
  grpc::Status ReadArtifact(
      grpc::ServerContext*, const v1::ReadArtifactRequest*,
      grpc::ServerWriter<v1::ReadArtifactResponse>*) override;
  grpc::Status WriteArtifact(grpc::ServerContext*,
                             grpc::ServerReader<v1::WriteArtifactRequest>*,
                             v1::WriteArtifactResponse*) override;
  grpc::Status GetUpload(grpc::ServerContext*, const v1::GetUploadRequest*,
                         v1::GetUploadResponse*) override;
  grpc::Status UpdateArtifact(grpc::ServerContext*,
                              const v1::UpdateArtifactRequest*,
                              v1::UpdateArtifactResponse*) override;
  grpc::Status DeleteArtifact(grpc::ServerContext*,
                              const v1::DeleteArtifactRequest*,
                              v1::DeleteArtifactResponse*) override;

 private:
  struct Stored {
    v1::Artifact artifact;
    std::string contents;
  };

  Stored& Store(const std::string& name, const std::string& contents,
                const std::string& media_type)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<grpc::Status(const grpc::ServerContext&)> check_;
  RequestLog log_;
  absl::Mutex mutex_;
  std::map<std::string, Stored> artifacts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> uploads_ ABSL_GUARDED_BY(mutex_);
  size_t largest_piece_ ABSL_GUARDED_BY(mutex_) = 0;
  int break_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t break_after_ ABSL_GUARDED_BY(mutex_) = 0;
  bool forget_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status refusal_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_ARTIFACTS_H_
