#include "src/lab/storage/token_store.h"

#include <cstdint>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr size_t kMaxUserLength = 63;

// The prefix lets scanners for leaked secrets know it.
std::string NewSecret() {
  return absl::StrCat("dissonance_",
                      absl::BytesToHexString(RandomBytes(kSecretBytes)));
}

bool IsUserName(absl::string_view user) {
  if (user.empty() || user.size() > kMaxUserLength) return false;
  for (const char c : user) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-' &&
        c != '.' && c != '_') {
      return false;
    }
  }
  return absl::ascii_isalnum(user.front());
}

bool HasUser(Connection& connection, absl::string_view user) {
  Query query(connection, "SELECT 1 FROM users WHERE name = ?", user);
  return query.Next();
}

bool HasAnyUser(Connection& connection) {
  Query query(connection, "SELECT 1 FROM users LIMIT 1");
  return query.Next();
}

void InsertUser(Connection& connection, absl::string_view user,
                absl::Time now) {
  Query(connection, "INSERT INTO users (name, create_time) VALUES (?, ?)", user,
        std::optional(now))
      .Run();
}

void InsertToken(Connection& connection, absl::string_view secret,
                 absl::string_view user, TokenScope scope, absl::Time now,
                 absl::Time expiry) {
  Query(connection,
        "INSERT INTO tokens (digest, user, scope, create_time, expire_time)"
        " VALUES (?, ?, ?, ?, ?)",
        Sha256Of(secret), user, static_cast<int32_t>(scope), std::optional(now),
        std::optional(expiry))
      .Run();
}

}  // namespace

absl::Status TokenStore::EnsureOwner(
    absl::FunctionRef<absl::Status(absl::string_view secret)> write_secret) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    if (HasAnyUser(connection)) return absl::OkStatus();
    const std::string secret = NewSecret();
    InsertUser(connection, kOwnerUser, clock_.Now());
    InsertToken(connection, secret, kOwnerUser, TokenScope::kAdmin,
                clock_.Now(), absl::InfiniteFuture());
    // Before the commit: a token that nobody was told would lock its owner
    // out, a file with a token that does not exist is replaced.
    return write_secret(secret);
  });
}

absl::Status TokenStore::CreateUser(absl::string_view user) {
  if (!IsUserName(user)) {
    return absl::InvalidArgumentError(
        absl::StrCat("user name \"", absl::CHexEscape(user),
                     "\": use 1-63 of a-z, 0-9, "
                     "'-', '.', '_', beginning with a letter or digit"));
  }
  return database_.Write([&](Connection& connection) -> absl::Status {
    if (HasUser(connection, user)) {
      return absl::AlreadyExistsError(
          absl::StrCat("user ", user, " exists; choose another name"));
    }
    InsertUser(connection, user, clock_.Now());
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> TokenStore::CreateToken(absl::string_view user,
                                                    TokenScope scope,
                                                    absl::Time expiry) {
  const std::string secret = NewSecret();
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    if (!HasUser(connection, user)) {
      return absl::NotFoundError(
          absl::StrCat("user ", absl::CHexEscape(user), " does not exist"));
    }
    InsertToken(connection, secret, user, scope, clock_.Now(), expiry);
    return absl::OkStatus();
  }));
  return secret;
}

absl::StatusOr<Principal> TokenStore::Authenticate(absl::string_view secret) {
  // Found by digest, so how long the look-up takes tells nothing of a token.
  Principal principal;
  principal.token_digest = Sha256Of(secret);
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT user, scope, expire_time, revoke_time FROM tokens"
                " WHERE digest = ?",
                principal.token_digest);
    if (!query.Next()) {
      return absl::UnauthenticatedError(
          "the token is none of this server's; its owner's is in owner.token "
          "of its data directory");
    }
    if (query.Time(3).has_value()) {
      return absl::UnauthenticatedError(
          "this token was revoked: ask the server's owner for a new one");
    }
    if (clock_.Now() >= query.Time(2).value_or(absl::InfiniteFuture())) {
      return absl::UnauthenticatedError(
          "this token has expired: ask the server's owner for a new one");
    }
    principal.user = query.Text(0);
    principal.scope = static_cast<TokenScope>(query.Int(1));
    return absl::OkStatus();
  }));
  return principal;
}

absl::Status TokenStore::Revoke(absl::string_view token_digest) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    Query query(connection,
                "UPDATE tokens SET revoke_time = coalesce(revoke_time, ?)"
                " WHERE digest = ?",
                std::optional(clock_.Now()), token_digest);
    if (query.Run() == 0) {
      return absl::NotFoundError(absl::StrCat(
          "token ", absl::CHexEscape(token_digest), " does not exist"));
    }
    return absl::OkStatus();
  });
}

}  // namespace dissonance
