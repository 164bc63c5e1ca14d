#include "src/lab/storage/token_store.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

constexpr size_t kSecretBytes = 32;
constexpr absl::string_view kNamePrefix = "tokens/";
constexpr absl::string_view kDigestPrefix = "sha256:";

constexpr absl::string_view kColumns =
    "SELECT digest, user, scope, create_time, expire_time, revoke_time,"
    " calls_per_second, note FROM tokens";

// The prefix lets scanners for leaked secrets know it.
std::string NewSecret() {
  return absl::StrCat("dissonance_",
                      absl::BytesToHexString(RandomBytes(kSecretBytes)));
}

std::string NameOfDigest(absl::string_view digest) {
  return absl::StrCat(kNamePrefix, absl::StripPrefix(digest, kDigestPrefix));
}

std::string DigestOfName(absl::string_view name) {
  return absl::StrCat(kDigestPrefix, absl::StripPrefix(name, kNamePrefix));
}

Timestamp ToTimestamp(absl::Time time) {
  return TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

absl::Time FromTimestamp(const Timestamp& time) {
  return absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(time));
}

v1::Token TokenOfRow(const Query& query) {
  v1::Token token;
  token.set_name(NameOfDigest(query.Text(0)));
  token.set_user(NameOfUser(query.Text(1)));
  token.set_scope(static_cast<v1::Scope>(query.Int(2)));
  *token.mutable_create_time() = ToTimestamp(*query.Time(3));
  if (const auto expiry = query.Time(4)) {
    *token.mutable_expire_time() = ToTimestamp(*expiry);
  }
  if (const auto revoked = query.Time(5)) {
    *token.mutable_revoke_time() = ToTimestamp(*revoked);
  }
  token.set_calls_per_second(query.Real(6));
  token.set_note(query.Text(7));
  return token;
}

absl::StatusOr<v1::Token> ReadToken(Connection& connection,
                                    absl::string_view name) {
  Query query(connection, absl::StrCat(kColumns, " WHERE digest = ?"),
              DigestOfName(name));
  if (query.Next()) return TokenOfRow(query);
  return TokenStore::NoSuchToken(name);
}

absl::Time ExpiryOf(const v1::Token& token) {
  return token.has_expire_time() ? FromTimestamp(token.expire_time())
                                 : absl::InfiniteFuture();
}

absl::Status CheckNotEnded(const v1::Token& token, absl::Time now) {
  if (token.has_revoke_time()) {
    return absl::UnauthenticatedError(
        "this token was revoked: ask an administrator for a new one");
  }
  if (now >= ExpiryOf(token)) {
    return absl::UnauthenticatedError(
        "this token has expired: ask an administrator for a new one");
  }
  return absl::OkStatus();
}

bool HasUser(Connection& connection, absl::string_view user) {
  Query query(connection, "SELECT 1 FROM users WHERE name = ?", user);
  return query.Next();
}

bool HasAnyUser(Connection& connection) {
  Query query(connection, "SELECT 1 FROM users LIMIT 1");
  return query.Next();
}

absl::StatusOr<CreatedToken> InsertToken(Connection& connection,
                                         const NewToken& wanted,
                                         absl::Time now) {
  CreatedToken created;
  created.secret = NewSecret();
  const std::string digest = Sha256Of(created.secret);
  Query(connection,
        "INSERT INTO tokens (digest, user, scope, create_time, expire_time,"
        " calls_per_second, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
        digest, wanted.user, int32_t{wanted.scope}, std::optional(now),
        std::optional(wanted.expiry), wanted.calls_per_second, wanted.note)
      .Run();
  ASSIGN_OR_RETURN(created.token, ReadToken(connection, NameOfDigest(digest)));
  return created;
}

void EndAt(Connection& connection, absl::string_view name, absl::Time expiry) {
  Query(connection, "UPDATE tokens SET expire_time = ? WHERE digest = ?",
        std::optional(expiry), DigestOfName(name))
      .Run();
}

}  // namespace

absl::Status TokenStore::NoSuchToken(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat(absl::CHexEscape(name.substr(0, 100)), " does not exist"));
}

absl::Status TokenStore::EnsureOwner(
    absl::FunctionRef<absl::Status(absl::string_view secret)> write_secret) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    if (HasAnyUser(connection)) return absl::OkStatus();
    Query(connection, "INSERT INTO users (name, create_time) VALUES (?, ?)",
          kOwnerUser, std::optional(clock_.Now()))
        .Run();
    ASSIGN_OR_RETURN(const CreatedToken created,
                     InsertToken(connection,
                                 {.user = std::string(kOwnerUser),
                                  .scope = v1::SCOPE_ADMIN,
                                  .note = "made at the first start"},
                                 clock_.Now()));
    // Before the commit: a token that nobody was told would lock its owner
    // out, a file with a token that does not exist is replaced.
    return write_secret(created.secret);
  });
}

absl::StatusOr<CreatedToken> TokenStore::Create(const NewToken& wanted) {
  CreatedToken created;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    if (!HasUser(connection, wanted.user)) {
      return UserStore::NoSuchUser(wanted.user);
    }
    ASSIGN_OR_RETURN(created, InsertToken(connection, wanted, clock_.Now()));
    return absl::OkStatus();
  }));
  return created;
}

absl::StatusOr<CreatedToken> TokenStore::Rotate(absl::string_view name,
                                                absl::Duration overlap,
                                                absl::Duration lifetime) {
  CreatedToken created;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    const absl::Time now = clock_.Now();
    ASSIGN_OR_RETURN(const v1::Token old, ReadToken(connection, name));
    if (!CheckNotEnded(old, now).ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          old.name(), " has ended and cannot be rotated: create a new token"));
    }
    ASSIGN_OR_RETURN(const std::string user, UserOfName(old.user()));
    ASSIGN_OR_RETURN(created,
                     InsertToken(connection,
                                 {.user = user,
                                  .scope = old.scope(),
                                  .expiry = now + lifetime,
                                  .calls_per_second = old.calls_per_second(),
                                  .note = old.note()},
                                 now));
    EndAt(connection, old.name(), std::min(ExpiryOf(old), now + overlap));
    return absl::OkStatus();
  }));
  return created;
}

absl::StatusOr<Principal> TokenStore::Authenticate(absl::string_view secret) {
  // Found by digest, so how long the look-up takes tells nothing of a token.
  const std::string name = NameOfDigest(Sha256Of(secret));
  v1::Token token;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    absl::StatusOr<v1::Token> found = ReadToken(connection, name);
    if (!found.ok()) {
      return absl::UnauthenticatedError(
          "the token is none of this server's; its owner's is in owner.token "
          "of its data directory");
    }
    token = *std::move(found);
    return CheckNotEnded(token, clock_.Now());
  }));
  Principal principal;
  ASSIGN_OR_RETURN(principal.user, UserOfName(token.user()));
  principal.scope = token.scope();
  principal.token = token.name();
  principal.expiry = ExpiryOf(token);
  principal.calls_per_second = token.calls_per_second();
  return principal;
}

absl::Status TokenStore::CheckValid(absl::string_view name) {
  return database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const v1::Token token, ReadToken(connection, name));
    return CheckNotEnded(token, clock_.Now());
  });
}

absl::StatusOr<bool> TokenStore::IsAdministrator(absl::string_view user) {
  bool is_one = false;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT 1 FROM tokens WHERE user = ? AND scope = 3 AND"
                " revoke_time IS NULL AND coalesce(expire_time > ?, 1) LIMIT 1",
                user, std::optional(clock_.Now()));
    is_one = query.Next();
    return absl::OkStatus();
  }));
  return is_one;
}

absl::StatusOr<v1::Token> TokenStore::Revoke(absl::string_view name) {
  v1::Token token;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    Query(connection,
          "UPDATE tokens SET revoke_time = coalesce(revoke_time, ?)"
          " WHERE digest = ?",
          std::optional(clock_.Now()), DigestOfName(name))
        .Run();
    ASSIGN_OR_RETURN(token, ReadToken(connection, name));
    return absl::OkStatus();
  }));
  return token;
}

absl::StatusOr<v1::Token> TokenStore::Get(absl::string_view name) {
  v1::Token token;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(token, ReadToken(connection, name));
    return absl::OkStatus();
  }));
  return token;
}

absl::StatusOr<std::vector<v1::Token>> TokenStore::List(absl::string_view user,
                                                        int offset, int limit) {
  std::vector<v1::Token> tokens;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                absl::StrCat(kColumns,
                             " WHERE user = ? ORDER BY create_time DESC, digest"
                             " LIMIT ? OFFSET ?"),
                user, limit, offset);
    while (query.Next()) tokens.push_back(TokenOfRow(query));
    return absl::OkStatus();
  }));
  return tokens;
}

}  // namespace dissonance
