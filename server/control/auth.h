// The gate before every RPC on every listener: a valid bearer token of the
// scope that the RPC declares, except for grpc.health.v1; within its rate; and
// a server that takes work. It is part of the listeners' credentials, so no
// service can forget it. Thread safe. Borrows tokens and clock.
//
//   auto gate = std::make_shared<AuthGate>(tokens, clock, options);
//   credentials->SetAuthMetadataProcessor(gate);
//   gate->SetPhase(AuthGate::Phase::kServing);
#ifndef DISSONANCE_SERVER_CONTROL_AUTH_H_
#define DISSONANCE_SERVER_CONTROL_AUTH_H_

#include <atomic>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/server_context.h"
#include "server/control/rate_limiter.h"
#include "src/base/clock.h"
#include "src/lab/storage/token_store.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

// An error's payload: the seconds after which to try again, in digits.
inline constexpr char kRetryAfter[] = "dissonance/retry-after-seconds";

class AuthGate final : public grpc::AuthMetadataProcessor {
 public:
  enum class Phase {
    kStarting,  // nothing is answered yet
    kServing,
    kDraining,  // only health and Admin
  };

  struct Options {
    // Of a token that has no rate of its own; 0: no limit.
    double calls_per_second = 0;
    // Calls that may come at once: what this time brings.
    absl::Duration burst = absl::Seconds(10);
  };

  AuthGate(TokenStore& tokens, const Clock& clock, const Options& options)
      : tokens_(tokens), options_(options), rates_(clock, options.burst) {}

  void SetPhase(Phase phase) { phase_ = phase; }
  bool draining() const { return phase_ == Phase::kDraining; }

  // A look-up in the database is quick enough for the transport's thread.
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata,
                       grpc::AuthContext* context, OutputMetadata* consumed,
                       OutputMetadata* response) override;

  // The same for a call of the RPC `path` that comes another way, with this
  // value of "authorization". Beyond the token's rate the error carries
  // kRetryAfter.
  absl::Status Check(absl::string_view path, absl::string_view authorization);

 private:
  // Sets the caller once it is known, also where the call is refused.
  absl::Status CheckCaller(absl::string_view path,
                           absl::string_view authorization, Principal& caller);
  absl::Status CheckRate(const Principal& caller);

  TokenStore& tokens_;
  const Options options_;
  RateLimiter rates_;
  std::atomic<Phase> phase_ = Phase::kStarting;
};

// Who calls. UNAUTHENTICATED as above; for handlers that need the user.
absl::StatusOr<Principal> CallerOf(const grpc::ServerContextBase& context,
                                   TokenStore& tokens);

// The value of `key` among a call's metadata; empty if it is not there.
absl::string_view MetadataOf(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata,
    const char* key);

// What a caller sees of others' things.
Viewer ViewerOf(const Principal& caller);
// The owner whose jobs a caller sees; empty: all.
std::string JobsOwnerOf(const Principal& caller);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_AUTH_H_
