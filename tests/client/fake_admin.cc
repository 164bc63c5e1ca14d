#include "tests/client/fake_admin.h"

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

grpc::Status NotFound(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, absl::StrCat(name, " does not exist")};
}

}  // namespace

FakeAdmin::FakeAdmin(
    std::function<grpc::Status(const grpc::ServerContext&)> check)
    : check_(std::move(check)) {}

void FakeAdmin::AddUser(const v1::User& user) {
  absl::MutexLock lock(&mutex_);
  users_[user.name()] = user;
}

void FakeAdmin::AddToken(const v1::Token& token) {
  absl::MutexLock lock(&mutex_);
  tokens_.push_back(token);
}

void FakeAdmin::AddEvent(const v1::AuditEvent& event) {
  absl::MutexLock lock(&mutex_);
  events_.push_back(event);
}

void FakeAdmin::OnNewToken(std::function<void()> hook) {
  absl::MutexLock lock(&mutex_);
  hook_ = std::move(hook);
}

void FakeAdmin::SetMaintenance(const std::string& reason) {
  absl::MutexLock lock(&mutex_);
  maintenance_ = reason;
}

grpc::Status FakeAdmin::Receive(const grpc::ServerContext& context,
                                const google::protobuf::Message& request) {
  grpc::Status status = check_(context);
  if (status.ok()) log_.Add(request);
  return status;
}

void FakeAdmin::RunHook() {
  std::function<void()> hook;
  {
    absl::MutexLock lock(&mutex_);
    hook = hook_;
  }
  if (hook) hook();
}

grpc::Status FakeAdmin::ServerInfo(grpc::ServerContext* context,
                                   const v1::ServerInfoRequest* request,
                                   v1::ServerInfoResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  response->set_version("0.1.0");
  response->set_data_dir("/data");
  response->add_addresses("127.0.0.1:7433");
  v1::Worker& worker = *response->add_workers();
  worker.set_name("workers/local");
  worker.set_state(v1::WORKER_STATE_READY);
  worker.set_pid(42);
  worker.set_launched_as("process 42");
  worker.set_waits_for("Resources");
  worker.set_device("cpu");
  v1::Caller& caller = *response->mutable_caller();
  caller.set_user("users/ann");
  caller.set_scope(v1::SCOPE_ADMIN);
  caller.set_token("tokens/own");
  caller.mutable_expire_time()->set_seconds(86400);
  response->set_maintenance(maintenance_);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::CreateUser(grpc::ServerContext* context,
                                   const v1::CreateUserRequest* request,
                                   v1::CreateUserResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  v1::User& user = users_[request->name()];
  user.set_name(request->name());
  *user.mutable_quota() = request->quota();
  *user.mutable_effective_quota() = request->quota();
  *response->mutable_user() = user;
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::GetUser(grpc::ServerContext* context,
                                const v1::GetUserRequest* request,
                                v1::GetUserResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found =
      users_.find(request->name().empty() ? "users/ann" : request->name());
  if (found == users_.end()) return NotFound(request->name());
  *response->mutable_user() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::ListUsers(grpc::ServerContext* context,
                                  const v1::ListUsersRequest* request,
                                  v1::ListUsersResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, user] : users_) *response->add_users() = user;
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::SetQuota(grpc::ServerContext* context,
                                 const v1::SetQuotaRequest* request,
                                 v1::SetQuotaResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  v1::User& user = users_[request->name()];
  *user.mutable_quota() = request->quota();
  *user.mutable_effective_quota() = request->quota();
  *response->mutable_user() = user;
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::CreateToken(grpc::ServerContext* context,
                                    const v1::CreateTokenRequest* request,
                                    v1::CreateTokenResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  v1::Token& token = *response->mutable_token();
  token.set_name("tokens/new");
  token.set_user(request->user().empty() ? "users/ann" : request->user());
  token.set_scope(request->scope() == v1::SCOPE_UNSPECIFIED ? v1::SCOPE_RUN
                                                            : request->scope());
  token.set_calls_per_second(request->calls_per_second());
  token.set_note(request->note());
  if (request->has_lifetime()) {
    token.mutable_expire_time()->set_seconds(request->lifetime().seconds());
  }
  response->set_secret("new-secret");
  RunHook();
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::ListTokens(grpc::ServerContext* context,
                                   const v1::ListTokensRequest* request,
                                   v1::ListTokensResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  response->mutable_tokens()->Add(tokens_.begin(), tokens_.end());
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::RotateToken(grpc::ServerContext* context,
                                    const v1::RotateTokenRequest* request,
                                    v1::RotateTokenResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  response->mutable_token()->set_name("tokens/new");
  response->mutable_token()->set_user("users/ann");
  response->mutable_token()->set_scope(v1::SCOPE_RUN);
  response->set_secret("new-secret");
  RunHook();
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::RevokeToken(grpc::ServerContext* context,
                                    const v1::RevokeTokenRequest* request,
                                    v1::RevokeTokenResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  response->mutable_token()->set_name(request->name());
  response->mutable_token()->mutable_revoke_time()->set_seconds(1);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::Drain(grpc::ServerContext* context,
                              const v1::DrainRequest* request,
                              v1::DrainResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  response->set_running_job_count(2);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::Resume(grpc::ServerContext* context,
                               const v1::ResumeRequest* request,
                               v1::ResumeResponse* /*response*/) {
  return Receive(*context, *request);
}

grpc::Status FakeAdmin::Backup(grpc::ServerContext* context,
                               const v1::BackupRequest* request,
                               v1::BackupResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  response->set_path(request->path());
  response->set_artifact_count(12);
  response->set_size_bytes(2048);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::CollectGarbage(grpc::ServerContext* context,
                                       const v1::CollectGarbageRequest* request,
                                       v1::CollectGarbageResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  response->set_removed_count(3);
  response->set_removed_bytes(3072);
  response->set_kept_count(1200);
  response->set_kept_bytes(int64_t{5} << 30);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::ListAuditEvents(
    grpc::ServerContext* context, const v1::ListAuditEventsRequest* request,
    v1::ListAuditEventsResponse* response) {
  grpc::Status status = Receive(*context, *request);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  response->mutable_events()->Add(events_.begin(), events_.end());
  return grpc::Status::OK;
}

}  // namespace dissonance
