// Access tokens. A token is 256 random bits, shown once; the database holds its
// SHA-256 only. Thread safe. Borrows database and clock.
//
//   RETURN_IF_ERROR(tokens.EnsureOwner([&](absl::string_view secret) {
//     return WriteFileAtomically(data_dir + "/owner.token", secret, 0600);
//   }));
//   ASSIGN_OR_RETURN(Principal caller, tokens.Authenticate(bearer));
#ifndef DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_
#define DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "dissonance/v1/authorization.pb.h"
#include "src/base/clock.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

// Who a caller is.
struct Principal {
  std::string user;  // without "users/"
  v1::Scope scope = v1::SCOPE_READ;
  // "tokens/HEX": names the token without giving it away.
  std::string token;
  absl::Time expiry = absl::InfiniteFuture();
  double calls_per_second = 0;  // 0: as configured

  bool is_admin() const { return scope == v1::SCOPE_ADMIN; }
};

// A token to be made.
struct NewToken {
  std::string user;
  v1::Scope scope = v1::SCOPE_RUN;
  absl::Time expiry = absl::InfiniteFuture();
  double calls_per_second = 0;
  std::string note = {};
};

struct CreatedToken {
  v1::Token token;
  std::string secret;  // the only time that it is seen
};

class TokenStore {
 public:
  TokenStore(Database& database, const Clock& clock)
      : database_(database), clock_(clock) {}

  // NOT_FOUND, worded the same wherever a token is unknown or not to be seen.
  static absl::Status NoSuchToken(absl::string_view name);

  // On a database without users: makes the owner and an admin token that does
  // not expire, hands it to `write_secret` and commits if that returns OK. On
  // any other: does nothing. A crash in between leaves a file that the next
  // start replaces.
  absl::Status EnsureOwner(
      absl::FunctionRef<absl::Status(absl::string_view secret)> write_secret);

  // NOT_FOUND for an unknown user.
  absl::StatusOr<CreatedToken> Create(const NewToken& wanted);
  // A token with the old one's user, scope, rate and note, valid for
  // `lifetime`. The old one ends `overlap` from now, if not sooner.
  // FAILED_PRECONDITION if it has ended.
  absl::StatusOr<CreatedToken> Rotate(absl::string_view name,
                                      absl::Duration overlap,
                                      absl::Duration lifetime);

  // UNAUTHENTICATED if unknown, expired or revoked; the message never repeats
  // the token. Also to be asked again in a long stream.
  absl::StatusOr<Principal> Authenticate(absl::string_view secret);
  // The same of a token that was authenticated before.
  absl::Status CheckValid(absl::string_view name);

  // Whether the user has a valid token of scope admin.
  absl::StatusOr<bool> IsAdministrator(absl::string_view user);

  // NOT_FOUND if unknown, here and below; OK again if revoked before.
  absl::StatusOr<v1::Token> Revoke(absl::string_view name);
  absl::StatusOr<v1::Token> Get(absl::string_view name);
  // A user's, newest first, after skipping `offset`, at most `limit`.
  absl::StatusOr<std::vector<v1::Token>> List(absl::string_view user,
                                              int offset, int limit);

 private:
  Database& database_;
  const Clock& clock_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_
