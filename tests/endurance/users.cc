#include "tests/endurance/users.h"

#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

constexpr double kNoRateLimit = 1e6;

}  // namespace

absl::StatusOr<std::string> AddUser(Client& owner, const std::string& name,
                                    int queued_count) {
  v1::CreateUserRequest user;
  user.set_name(name);
  user.mutable_quota()->set_queued_job_count(queued_count);
  RETURN_IF_ERROR(
      Annotate(owner.Call(&v1::Admin::Stub::CreateUser, user).status(),
               "CreateUser " + name));
  v1::CreateTokenRequest token;
  token.set_user(name);
  token.set_calls_per_second(kNoRateLimit);
  ASSIGN_OR_RETURN(const v1::CreateTokenResponse response,
                   owner.Call(&v1::Admin::Stub::CreateToken, token));
  return response.secret();
}

absl::Status ShareWithLab(Client& owner,
                          const std::vector<std::string>& adapters) {
  v1::UpdateModelRequest model;
  model.set_name(kTinyModel);
  model.set_visibility(v1::VISIBILITY_LAB);
  RETURN_IF_ERROR(
      Annotate(owner.Call(&v1::Models::Stub::UpdateModel, model).status(),
               "UpdateModel"));
  for (const std::string& name : adapters) {
    v1::UpdateAdapterRequest adapter;
    adapter.set_name(name);
    adapter.set_visibility(v1::VISIBILITY_LAB);
    RETURN_IF_ERROR(
        owner.Call(&v1::Models::Stub::UpdateAdapter, adapter).status());
  }
  return absl::OkStatus();
}

}  // namespace dissonance
