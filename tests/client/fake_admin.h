// The Admin service with canned answers, users that keep their quota, and
// tokens. Thread safe.
//
//   FakeAdmin admin([](const auto&) { return grpc::Status::OK; });
//   builder.RegisterService(&admin);
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_ADMIN_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_ADMIN_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "tests/client/request_log.h"

namespace dissonance {

class FakeAdmin final : public v1::Admin::Service {
 public:
  // `check` decides whether a call is answered.
  explicit FakeAdmin(
      std::function<grpc::Status(const grpc::ServerContext&)> check);

  RequestLog& log() { return log_; }
  void AddUser(const v1::User& user);
  void AddToken(const v1::Token& token);
  void AddEvent(const v1::AuditEvent& event);
  // Runs when a token was made and is not answered yet.
  void OnNewToken(std::function<void()> hook);
  // Why no jobs are started.
  void SetMaintenance(const std::string& reason);

  grpc::Status ServerInfo(grpc::ServerContext*, const v1::ServerInfoRequest*,
                          v1::ServerInfoResponse*) override;
  grpc::Status CreateUser(grpc::ServerContext*, const v1::CreateUserRequest*,
                          v1::CreateUserResponse*) override;
  grpc::Status GetUser(grpc::ServerContext*, const v1::GetUserRequest*,
                       v1::GetUserResponse*) override;
  grpc::Status ListUsers(grpc::ServerContext*, const v1::ListUsersRequest*,
                         v1::ListUsersResponse*) override;
  grpc::Status SetQuota(grpc::ServerContext*, const v1::SetQuotaRequest*,
                        v1::SetQuotaResponse*) override;
  grpc::Status CreateToken(grpc::ServerContext*, const v1::CreateTokenRequest*,
                           v1::CreateTokenResponse*) override;
  grpc::Status ListTokens(grpc::ServerContext*, const v1::ListTokensRequest*,
                          v1::ListTokensResponse*) override;
  grpc::Status RotateToken(grpc::ServerContext*, const v1::RotateTokenRequest*,
                           v1::RotateTokenResponse*) override;
  grpc::Status RevokeToken(grpc::ServerContext*, const v1::RevokeTokenRequest*,
                           v1::RevokeTokenResponse*) override;
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest*,
                     v1::DrainResponse*) override;
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*,
                      v1::ResumeResponse*) override;
  grpc::Status Backup(grpc::ServerContext*, const v1::BackupRequest*,
                      v1::BackupResponse*) override;
  grpc::Status CollectGarbage(grpc::ServerContext*,
                              const v1::CollectGarbageRequest*,
                              v1::CollectGarbageResponse*) override;
  grpc::Status ListAuditEvents(grpc::ServerContext*,
                               const v1::ListAuditEventsRequest*,
                               v1::ListAuditEventsResponse*) override;

 private:
  // Whether the call is answered; keeps what was asked.
  grpc::Status Receive(const grpc::ServerContext& context,
                       const google::protobuf::Message& request);
  void RunHook();

  const std::function<grpc::Status(const grpc::ServerContext&)> check_;
  RequestLog log_;
  absl::Mutex mutex_;
  std::map<std::string, v1::User> users_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Token> tokens_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> hook_ ABSL_GUARDED_BY(mutex_);
  std::string maintenance_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_ADMIN_H_
