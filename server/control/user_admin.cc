#include "server/control/user_admin.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/method_rules.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr size_t kMaxNote = 200;
constexpr double kMaxRate = 1e6;

absl::StatusOr<absl::Duration> SpanOf(absl::string_view field,
                                      const google::protobuf::Duration& span) {
  constexpr int64_t kMostSeconds = int64_t{100} * 365 * 24 * 3600;
  if (span.seconds() < 0 || span.nanos() < 0 || span.seconds() > kMostSeconds) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has to be from 0 to 100 years"));
  }
  return absl::Seconds(span.seconds()) + absl::Nanoseconds(span.nanos());
}

// The user a request is about; the caller's own if it names none. Others are
// NOT_FOUND for who is no administrator.
absl::StatusOr<std::string> AboutUser(const Principal& caller,
                                      const std::string& name) {
  if (name.empty()) return caller.user;
  ASSIGN_OR_RETURN(std::string user, UserOfName(name));
  if (user != caller.user && !caller.is_admin()) {
    return UserStore::NoSuchUser(user);
  }
  return user;
}

// A token that is made in place of another one of the user's is no way around
// the limits of the one that it is made with.
absl::Status CheckRateOf(const v1::Token& old, const Principal& caller) {
  const double rate = old.calls_per_second();
  const double own = caller.calls_per_second;
  if (rate == own || (rate > 0 && rate < own)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(old.name(),
                   " may have a higher rate than the token of this call: call "
                   "with that one, or ask an administrator"));
}

absl::Status CheckGrant(const Principal& caller,
                        const v1::CreateTokenRequest& request) {
  if (!v1::Scope_IsValid(request.scope())) {
    return absl::InvalidArgumentError("scope: give read, run or admin");
  }
  if (request.scope() > caller.scope) {
    return absl::PermissionDeniedError(absl::StrCat(
        "a token of scope ", ScopeName(request.scope()),
        " can't be made with one of scope ", ScopeName(caller.scope)));
  }
  if (request.note().size() > kMaxNote) {
    return absl::InvalidArgumentError(
        absl::StrCat("note: at most ", kMaxNote, " bytes"));
  }
  const double rate = request.calls_per_second();
  if (!(rate >= 0 && rate <= kMaxRate)) {
    return absl::InvalidArgumentError("calls_per_second: give 0 to 1000000");
  }
  if (rate > 0 && !caller.is_admin()) {
    return absl::PermissionDeniedError(
        "calls_per_second is an administrator's to set");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> PageSizeOf(int asked) {
  if (asked < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", asked, ": give 0 to 1000"));
  }
  return asked == 0 ? kDefaultPageSize : std::min(asked, kMaxPageSize);
}

absl::StatusOr<v1::User> UserAdmin::Describe(const StoredUser& stored) {
  v1::User user;
  user.set_name(NameOfUser(stored.name));
  *user.mutable_create_time() =
      TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(stored.create_time));
  *user.mutable_quota() = stored.quota;
  *user.mutable_effective_quota() = quotas_.Effective(stored.quota);
  ASSIGN_OR_RETURN(const PendingCounts pending,
                   records_.queue.PendingOf(stored.name));
  const UsageLedger::Use use = records_.ledger->Of(stored.name);
  v1::Usage& usage = *user.mutable_usage();
  usage.set_queued_job_count(pending.queued);
  usage.set_running_job_count(pending.running);
  usage.set_artifact_bytes(stored.artifact_bytes);
  usage.set_device_seconds_week(use.week_seconds);
  usage.set_job_tokens_week(use.week_tokens);
  usage.set_decayed_device_seconds(use.decayed_seconds);
  return user;
}

absl::StatusOr<v1::User> UserAdmin::CreateUser(
    const v1::CreateUserRequest& request) {
  ASSIGN_OR_RETURN(const std::string user, UserOfName(request.name()));
  RETURN_IF_ERROR(CheckQuota(request.quota()));
  RETURN_IF_ERROR(records_.users.Create(user, request.quota(), clock_.Now()));
  ASSIGN_OR_RETURN(const StoredUser stored, records_.users.Get(user));
  return Describe(stored);
}

absl::StatusOr<v1::User> UserAdmin::GetUser(const Principal& caller,
                                            const std::string& name) {
  ASSIGN_OR_RETURN(const std::string user, AboutUser(caller, name));
  ASSIGN_OR_RETURN(const StoredUser stored, records_.users.Get(user));
  return Describe(stored);
}

absl::StatusOr<v1::ListUsersResponse> UserAdmin::ListUsers(
    const v1::ListUsersRequest& request) {
  ASSIGN_OR_RETURN(const int size, PageSizeOf(request.page_size()));
  ASSIGN_OR_RETURN(const std::vector<StoredUser> users,
                   records_.users.List(request.page_token(), size + 1));
  v1::ListUsersResponse response;
  for (const StoredUser& user : users) {
    if (response.users_size() == size) {
      ASSIGN_OR_RETURN(*response.mutable_next_page_token(),
                       UserOfName(response.users(size - 1).name()));
      break;
    }
    ASSIGN_OR_RETURN(*response.add_users(), Describe(user));
  }
  return response;
}

absl::StatusOr<v1::User> UserAdmin::SetQuota(
    const v1::SetQuotaRequest& request) {
  ASSIGN_OR_RETURN(const std::string user, UserOfName(request.name()));
  RETURN_IF_ERROR(CheckQuota(request.quota()));
  RETURN_IF_ERROR(records_.users.SetQuota(user, request.quota()));
  ASSIGN_OR_RETURN(const StoredUser stored, records_.users.Get(user));
  return Describe(stored);
}

absl::StatusOr<v1::CreateTokenResponse> UserAdmin::CreateToken(
    const Principal& caller, const v1::CreateTokenRequest& request) {
  ASSIGN_OR_RETURN(std::string user, AboutUser(caller, request.user()));
  NewToken wanted = {.user = std::move(user),
                     .calls_per_second = request.calls_per_second(),
                     .note = request.note()};
  RETURN_IF_ERROR(CheckGrant(caller, request));
  if (request.scope() != v1::SCOPE_UNSPECIFIED) wanted.scope = request.scope();
  if (request.has_lifetime()) {
    ASSIGN_OR_RETURN(const absl::Duration lifetime,
                     SpanOf("lifetime", request.lifetime()));
    wanted.expiry = clock_.Now() + lifetime;
  }
  // Else a token about to end could be made to last, or a slow one fast.
  if (!caller.is_admin()) {
    wanted.expiry = std::min(wanted.expiry, caller.expiry);
    wanted.calls_per_second = caller.calls_per_second;
  }
  ASSIGN_OR_RETURN(CreatedToken created, records_.tokens.Create(wanted));
  v1::CreateTokenResponse response;
  *response.mutable_token() = std::move(created.token);
  response.set_secret(std::move(created.secret));
  return response;
}

absl::StatusOr<v1::ListTokensResponse> UserAdmin::ListTokens(
    const Principal& caller, const v1::ListTokensRequest& request) {
  ASSIGN_OR_RETURN(const std::string user, AboutUser(caller, request.user()));
  ASSIGN_OR_RETURN(const int size, PageSizeOf(request.page_size()));
  int offset = 0;
  if (!request.page_token().empty() &&
      (!absl::SimpleAtoi(request.page_token(), &offset) || offset < 0)) {
    return absl::InvalidArgumentError(
        "page_token: give the next_page_token of the page before, unchanged");
  }
  ASSIGN_OR_RETURN(std::vector<v1::Token> tokens,
                   records_.tokens.List(user, offset, size + 1));
  v1::ListTokensResponse response;
  if (std::ssize(tokens) > size) {
    tokens.pop_back();
    response.set_next_page_token(absl::StrCat(offset + size));
  }
  for (v1::Token& token : tokens) *response.add_tokens() = std::move(token);
  return response;
}

absl::StatusOr<v1::Token> UserAdmin::OwnToken(const Principal& caller,
                                              const std::string& name) {
  ASSIGN_OR_RETURN(v1::Token token, records_.tokens.Get(name));
  if (!caller.is_admin() && token.user() != NameOfUser(caller.user)) {
    return TokenStore::NoSuchToken(name);
  }
  if (token.scope() > caller.scope) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, " has scope ", ScopeName(token.scope()),
                     " and can't be changed with a token of scope ",
                     ScopeName(caller.scope)));
  }
  return token;
}

absl::StatusOr<v1::RotateTokenResponse> UserAdmin::RotateToken(
    const Principal& caller, const v1::RotateTokenRequest& request) {
  const std::string& name =
      request.name().empty() ? caller.token : request.name();
  ASSIGN_OR_RETURN(const v1::Token old, OwnToken(caller, name));
  ASSIGN_OR_RETURN(const absl::Duration overlap,
                   SpanOf("overlap", request.overlap()));
  absl::Duration lifetime = absl::InfiniteDuration();
  if (old.has_expire_time()) {
    lifetime = absl::Microseconds(
        TimeUtil::TimestampToMicroseconds(old.expire_time()) -
        TimeUtil::TimestampToMicroseconds(old.create_time()));
  }
  if (request.has_lifetime()) {
    ASSIGN_OR_RETURN(const absl::Duration asked,
                     SpanOf("lifetime", request.lifetime()));
    // A longer life is an administrator's to give.
    lifetime = caller.is_admin() ? asked : std::min(lifetime, asked);
  }
  if (!caller.is_admin() && old.name() != caller.token) {
    RETURN_IF_ERROR(CheckRateOf(old, caller));
    lifetime = std::min(lifetime, caller.expiry - clock_.Now());
  }
  ASSIGN_OR_RETURN(CreatedToken created,
                   records_.tokens.Rotate(name, overlap, lifetime));
  v1::RotateTokenResponse response;
  *response.mutable_token() = std::move(created.token);
  response.set_secret(std::move(created.secret));
  return response;
}

absl::StatusOr<v1::Token> UserAdmin::RevokeToken(const Principal& caller,
                                                 const std::string& name) {
  RETURN_IF_ERROR(OwnToken(caller, name).status());
  return records_.tokens.Revoke(name);
}

}  // namespace dissonance
