#include "server/control/auth.h"

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/control/grpc_status.h"
#include "spdlog/spdlog.h"
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

absl::string_view ValueOf(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? absl::string_view() : ViewOf(found->second);
}

absl::StatusOr<Principal> Authenticate(const Metadata& metadata,
                                       TokenStore& tokens) {
  constexpr char kKey[] = "authorization";
  if (metadata.count(kKey) != 1) {
    return absl::UnauthenticatedError(
        absl::StrCat("no token, or several: ", kHowTo));
  }
  absl::string_view token = ValueOf(metadata, kKey);
  if (!absl::ConsumePrefix(&token, "Bearer ")) {
    return absl::UnauthenticatedError(
        absl::StrCat("not a bearer token: ", kHowTo));
  }
  return tokens.Authenticate(token);
}

}  // namespace

grpc::Status AuthGate::Process(const InputMetadata& metadata,
                               grpc::AuthContext* /*context*/,
                               OutputMetadata* /*consumed*/,
                               OutputMetadata* /*response*/) {
  const absl::Status status = Check(metadata);
  if (!status.ok()) {
    spdlog::info("{} refused: {}", std::string(ValueOf(metadata, ":path")),
                 absl::StatusCodeToString(status.code()));
  }
  return ToGrpc(status);
}

absl::Status AuthGate::Check(const InputMetadata& metadata) {
  const absl::string_view path = ValueOf(metadata, ":path");
  const Phase phase = phase_;
  if (phase == Phase::kStarting) {
    return absl::UnavailableError("the server is starting; try again");
  }
  if (absl::StartsWith(path, kHealthPrefix)) return absl::OkStatus();
  RETURN_IF_ERROR(Authenticate(metadata, tokens_).status());
  if (phase == Phase::kDraining && !absl::StartsWith(path, kAdminPrefix)) {
    return absl::UnavailableError(
        "the server is stopping and takes no new work; try again when it has "
        "been started again");
  }
  return absl::OkStatus();
}

absl::StatusOr<Principal> CallerOf(const grpc::ServerContextBase& context,
                                   TokenStore& tokens) {
  return Authenticate(context.client_metadata(), tokens);
}

}  // namespace dissonance
