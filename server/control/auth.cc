#include "server/control/auth.h"

#include <map>
#include <string>

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

absl::StatusOr<Principal> Authenticate(const Metadata& metadata,
                                       TokenStore& tokens) {
  constexpr char kKey[] = "authorization";
  if (metadata.count(kKey) != 1) {
    return absl::UnauthenticatedError(
        absl::StrCat("no token, or several: ", kHowTo));
  }
  absl::string_view token = MetadataOf(metadata, kKey);
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
  Principal caller;
  const absl::Status status = Check(metadata, caller);
  if (!status.ok()) {
    Log(LogLevel::kInfo, "call refused",
        {{"method", MetadataOf(metadata, ":path")},
         {"user", caller.user},
         {"code", absl::StatusCodeToString(status.code())}});
  }
  return ToGrpc(status);
}

absl::Status AuthGate::Check(const InputMetadata& metadata, Principal& caller) {
  const absl::string_view path = MetadataOf(metadata, ":path");
  const Phase phase = phase_;
  if (phase == Phase::kStarting) {
    return absl::UnavailableError("the server is starting; try again");
  }
  if (absl::StartsWith(path, kHealthPrefix)) return absl::OkStatus();
  ASSIGN_OR_RETURN(caller, Authenticate(metadata, tokens_));
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
  return absl::ResourceExhaustedError(
      absl::StrCat("this token may make ", rate,
                   " calls a second: try again in ", absl::FormatDuration(wait),
                   ", or ask an administrator for a token with a higher rate"));
}

Viewer ViewerOf(const Principal& caller) {
  return {.user = caller.user, .sees_all = caller.is_admin()};
}

std::string JobsOwnerOf(const Principal& caller) {
  return caller.is_admin() ? "" : caller.user;
}

absl::StatusOr<Principal> CallerOf(const grpc::ServerContextBase& context,
                                   TokenStore& tokens) {
  return Authenticate(context.client_metadata(), tokens);
}

}  // namespace dissonance
