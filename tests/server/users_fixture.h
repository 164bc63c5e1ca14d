// Users of a server beside its owner, and calls with their tokens. Thread
// safe. A client borrows the server.
//
//   const auto ada = Client::AddUser(server, "ada");
//   ASSERT_TRUE(ada.ok()) << ada.status();
//   const auto job = ada->Call(&v1::Jobs::Stub::GetJob, request);
#ifndef DISSONANCE_TESTS_SERVER_USERS_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_USERS_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/artifacts.pb.h"
#include "grpcpp/client_context.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"

namespace dissonance {

class Client {
 public:
  // By the token with this secret.
  Client(ServerProcess& server, std::string secret, std::string token)
      : server_(&server),
        secret_(std::move(secret)),
        token_(std::move(token)) {}

  static Client Owner(ServerProcess& server) {
    return {server, server.OwnerToken(), ""};
  }
  // A new user with a token of scope run.
  static absl::StatusOr<Client> AddUser(ServerProcess& server,
                                        const std::string& user,
                                        const v1::Quota& quota = {});

  // Calls by a token that this one makes.
  absl::StatusOr<Client> NewToken(const v1::CreateTokenRequest& request) const;
  // Of one's own, of a scope.
  absl::StatusOr<Client> NewToken(v1::Scope scope) const;

  // With the token and a deadline.
  std::unique_ptr<grpc::ClientContext> NewContext() const;

  // A method with one answer, e.g. &v1::Jobs::Stub::GetJob.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request) const {
    Stub stub(server_->channel());
    Response response;
    const auto context = NewContext();
    const grpc::Status status =
        (stub.*method)(context.get(), request, &response);
    if (!status.ok()) return ToAbsl(status);
    return response;
  }
  // The same of a request that has a name only.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallOf(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const std::string& name) const {
    Request request;
    request.set_name(name);
    return Call(method, request);
  }

  // Stores bytes, in pieces; the artifact's name.
  absl::StatusOr<std::string> Write(const std::string& bytes) const;
  absl::Status Revoke(const std::string& token) const;

  ServerProcess& server() const { return *server_; }
  const std::string& secret() const { return secret_; }
  // "tokens/HEX"; empty of the owner's.
  const std::string& token() const { return token_; }

 private:
  ServerProcess* server_;
  std::string secret_;
  std::string token_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_USERS_FIXTURE_H_
