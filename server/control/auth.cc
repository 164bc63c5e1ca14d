#include "server/control/auth.h"

#include <map>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/control/grpc_status.h"
#include "server/control/method_rules.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

constexpr char kHealthPrefix[] = "/grpc.health.v1.Health/";
constexpr char kAdminPrefix[] = "/dissonance.v1.Admin/";
constexpr char kHowTo[] =
    "send 'authorization: Bearer TOKEN'; the owner's token is in owner.token "
    "of the server's data directory";

absl::string_view ViewOf(const grpc::string_ref& text) {
  return {text.data(), text.size()};
}

// Empty: there is none, or several.
absl::string_view AuthorizationOf(const Metadata& metadata) {
  constexpr char kKey[] = "authorization";
  return metadata.count(kKey) == 1 ? MetadataOf(metadata, kKey) : "";
}

absl::StatusOr<Principal> Authenticate(absl::string_view authorization,
                                       TokenStore& tokens) {
  if (authorization.empty()) {
    return absl::UnauthenticatedError(
        absl::StrCat("no token, or several: ", kHowTo));
  }
  absl::string_view token = authorization;
  if (!absl::ConsumePrefix(&token, "Bearer ")) {
    return absl::UnauthenticatedError(
        absl::StrCat("not a bearer token: ", kHowTo));
  }
  return tokens.Authenticate(token);
}

}  // namespace

absl::string_view MetadataOf(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? absl::string_view() : ViewOf(found->second);
}

grpc::Status AuthGate::Process(const InputMetadata& metadata,
                               grpc::AuthContext* /*context*/,
                               OutputMetadata* /*consumed*/,
                               OutputMetadata* /*response*/) {
  return ToGrpc(
      Check(MetadataOf(metadata, ":path"), AuthorizationOf(metadata)));
}

absl::Status AuthGate::Check(absl::string_view path,
                             absl::string_view authorization) {
  Principal caller;
  absl::Status status = CheckCaller(path, authorization, caller);
  if (!status.ok()) {
    Log(LogLevel::kInfo, "call refused",
        {{"method", path},
         {"user", caller.user},
         {"code", absl::StatusCodeToString(status.code())}});
  }
  return status;
}

absl::Status AuthGate::CheckCaller(absl::string_view path,
                                   absl::string_view authorization,
                                   Principal& caller) {
  const Phase phase = phase_;
  if (phase == Phase::kStarting) {
    return absl::UnavailableError("the server is starting; try again");
  }
  if (absl::StartsWith(path, kHealthPrefix)) return absl::OkStatus();
  ASSIGN_OR_RETURN(caller, Authenticate(authorization, tokens_));
  // Refused calls count too.
  RETURN_IF_ERROR(CheckRate(caller));
  const MethodRule rule = RuleOf(path);
  // What is not ours is grpc's own, or does not exist.
  if (rule.is_known) RETURN_IF_ERROR(CheckScope(path, rule, caller));
  if (phase == Phase::kDraining && !absl::StartsWith(path, kAdminPrefix)) {
    return absl::UnavailableError(
        "the server is stopping and takes no new work; try again when it has "
        "been started again");
  }
  return absl::OkStatus();
}

absl::Status AuthGate::CheckRate(const Principal& caller) {
  const double rate = caller.calls_per_second > 0 ? caller.calls_per_second
                                                  : options_.calls_per_second;
  const absl::Duration wait = rates_.Take(caller.token, rate);
  if (wait <= absl::ZeroDuration()) return absl::OkStatus();
  absl::Status refused = absl::ResourceExhaustedError(
      absl::StrCat("this token may make ", rate,
                   " calls a second: try again in ", absl::FormatDuration(wait),
                   ", or ask an administrator for a token with a higher rate"));
  refused.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(absl::ToInt64Seconds(
                                      absl::Ceil(wait, absl::Seconds(1))))));
  return refused;
}

Viewer ViewerOf(const Principal& caller) {
  return {.user = caller.user, .sees_all = caller.is_admin()};
}

std::string JobsOwnerOf(const Principal& caller) {
  return caller.is_admin() ? "" : caller.user;
}

absl::StatusOr<Principal> CallerOf(const grpc::ServerContextBase& context,
                                   TokenStore& tokens) {
  return Authenticate(AuthorizationOf(context.client_metadata()), tokens);
}

}  // namespace dissonance
