// Users and their access tokens. A token is 256 random bits, shown once; the
// database holds its SHA-256 only. Thread safe. Borrows database and clock.
//
//   RETURN_IF_ERROR(tokens.EnsureOwner([&](absl::string_view secret) {
//     return WriteFileAtomically(data_dir + "/owner.token", secret, 0600);
//   }));
//   ASSIGN_OR_RETURN(Principal caller, tokens.Authenticate(bearer));
#ifndef DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_
#define DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/base/clock.h"
#include "src/lab/storage/database.h"

namespace dissonance {

// What a token allows; each includes those before it.
enum class TokenScope { kRead = 1, kRun = 2, kAdmin = 3 };

// The user made at the first start.
inline constexpr absl::string_view kOwnerUser = "owner";

// Who a caller is.
struct Principal {
  std::string user;
  TokenScope scope = TokenScope::kRead;
  // Names the token without giving it away: "sha256:HEX" of it.
  std::string token_digest;
};

class TokenStore {
 public:
  TokenStore(Database& database, const Clock& clock)
      : database_(database), clock_(clock) {}

  // On a database without users: makes the owner and an admin token that does
  // not expire, hands it to `write_secret` and commits if that returns OK. On
  // any other: does nothing. A crash in between leaves a file that the next
  // start replaces.
  absl::Status EnsureOwner(
      absl::FunctionRef<absl::Status(absl::string_view secret)> write_secret);

  // 1-63 of a-z, 0-9, '-', '.', '_', beginning with a letter or digit, else
  // INVALID_ARGUMENT. ALREADY_EXISTS if taken.
  absl::Status CreateUser(absl::string_view user);

  // A new token; the only time that it is seen. NOT_FOUND for an unknown user.
  // `expiry` may be absl::InfiniteFuture().
  absl::StatusOr<std::string> CreateToken(absl::string_view user,
                                          TokenScope scope, absl::Time expiry);

  // UNAUTHENTICATED if unknown, expired or revoked; the message never repeats
  // the token. Also to be asked again in a long stream.
  absl::StatusOr<Principal> Authenticate(absl::string_view secret);

  // NOT_FOUND if unknown; OK again if revoked before.
  absl::Status Revoke(absl::string_view token_digest);

 private:
  Database& database_;
  const Clock& clock_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_TOKEN_STORE_H_
