#include "tests/server/users_fixture.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

}  // namespace

absl::StatusOr<Client> Client::AddUser(ServerProcess& server,
                                       const std::string& user,
                                       const v1::Quota& quota) {
  const Client owner = Owner(server);
  v1::CreateUserRequest add;
  add.set_name("users/" + user);
  *add.mutable_quota() = quota;
  RETURN_IF_ERROR(owner.Call(&v1::Admin::Stub::CreateUser, add).status());
  v1::CreateTokenRequest request;
  request.set_user(add.name());
  return owner.NewToken(request);
}

absl::StatusOr<Client> Client::NewToken(
    const v1::CreateTokenRequest& request) const {
  ASSIGN_OR_RETURN(const v1::CreateTokenResponse made,
                   Call(&v1::Admin::Stub::CreateToken, request));
  return Client(*server_, made.secret(), made.token().name());
}

absl::StatusOr<Client> Client::NewToken(v1::Scope scope) const {
  v1::CreateTokenRequest request;
  request.set_scope(scope);
  return NewToken(request);
}

std::unique_ptr<grpc::ClientContext> Client::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->AddMetadata("authorization", "Bearer " + secret_);
  context->set_deadline(
      absl::ToChronoTime(absl::Now() + ServerProcess::kPatience));
  return context;
}

absl::StatusOr<std::string> Client::Write(const std::string& bytes) const {
  v1::Artifacts::Stub stub(server_->channel());
  v1::WriteArtifactResponse response;
  const auto context = NewContext();
  const auto writer = stub.WriteArtifact(context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(absl::StrCat("artifacts/", Sha256Of(bytes)));
  request.set_size_bytes(static_cast<int64_t>(bytes.size()));
  request.set_media_type("text/plain");
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    request.set_offset_bytes(static_cast<int64_t>(at));
    request.set_data(bytes.substr(at, kPieceBytes));
    if (!writer->Write(request)) break;
    request.Clear();
  }
  writer->WritesDone();
  RETURN_IF_ERROR(ToAbsl(writer->Finish()));
  return response.artifact().name();
}

absl::Status Client::Revoke(const std::string& token) const {
  return CallOf(&v1::Admin::Stub::RevokeToken, token).status();
}

}  // namespace dissonance
