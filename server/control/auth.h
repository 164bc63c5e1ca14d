// The gate before every RPC on every listener: a valid bearer token, except
// for grpc.health.v1, and a server that takes work. It is part of the
// listeners' credentials, so no service can forget it. Thread safe. Borrows
// the tokens.
//
//   auto gate = std::make_shared<AuthGate>(tokens);
//   credentials->SetAuthMetadataProcessor(gate);
//   gate->SetPhase(AuthGate::Phase::kServing);
#ifndef DISSONANCE_SERVER_CONTROL_AUTH_H_
#define DISSONANCE_SERVER_CONTROL_AUTH_H_

#include <atomic>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/server_context.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

class AuthGate final : public grpc::AuthMetadataProcessor {
 public:
  enum class Phase {
    kStarting,  // nothing is answered yet
    kServing,
    kDraining,  // only health and Admin
  };

  explicit AuthGate(TokenStore& tokens) : tokens_(tokens) {}

  void SetPhase(Phase phase) { phase_ = phase; }
  bool draining() const { return phase_ == Phase::kDraining; }

  // A look-up in the database is quick enough for the transport's thread.
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata,
                       grpc::AuthContext* context, OutputMetadata* consumed,
                       OutputMetadata* response) override;

 private:
  absl::Status Check(const InputMetadata& metadata);

  TokenStore& tokens_;
  std::atomic<Phase> phase_ = Phase::kStarting;
};

// Who calls. UNAUTHENTICATED as above; for handlers that need the user.
absl::StatusOr<Principal> CallerOf(const grpc::ServerContextBase& context,
                                   TokenStore& tokens);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_AUTH_H_
