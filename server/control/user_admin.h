// What the Admin service does with users and their tokens, without its
// transport. `caller` decides what is seen and may be done: users see and
// manage themselves, administrators everybody. Thread safe. Borrows its parts.
#ifndef DISSONANCE_SERVER_CONTROL_USER_ADMIN_H_
#define DISSONANCE_SERVER_CONTROL_USER_ADMIN_H_

#include <string>

#include "absl/status/statusor.h"
#include "dissonance/v1/admin.pb.h"
#include "server/control/quotas.h"
#include "server/control/records.h"
#include "src/base/clock.h"

namespace dissonance {

class UserAdmin {
 public:
  UserAdmin(Records& records, const Quotas& quotas, const Clock& clock)
      : records_(records), quotas_(quotas), clock_(clock) {}

  // As the Admin service says, each.
  absl::StatusOr<v1::User> CreateUser(const v1::CreateUserRequest& request);
  absl::StatusOr<v1::User> GetUser(const Principal& caller,
                                   const std::string& name);
  absl::StatusOr<v1::ListUsersResponse> ListUsers(
      const v1::ListUsersRequest& request);
  absl::StatusOr<v1::User> SetQuota(const v1::SetQuotaRequest& request);

  absl::StatusOr<v1::CreateTokenResponse> CreateToken(
      const Principal& caller, const v1::CreateTokenRequest& request);
  absl::StatusOr<v1::ListTokensResponse> ListTokens(
      const Principal& caller, const v1::ListTokensRequest& request);
  absl::StatusOr<v1::RotateTokenResponse> RotateToken(
      const Principal& caller, const v1::RotateTokenRequest& request);
  absl::StatusOr<v1::Token> RevokeToken(const Principal& caller,
                                        const std::string& name);

 private:
  absl::StatusOr<v1::User> Describe(const StoredUser& stored);
  // The token, if the caller may manage it.
  absl::StatusOr<v1::Token> OwnToken(const Principal& caller,
                                     const std::string& name);

  Records& records_;
  const Quotas& quotas_;
  const Clock& clock_;
};

// Pages: 0 means 100, at most 1000. INVALID_ARGUMENT if negative.
absl::StatusOr<int> PageSizeOf(int asked);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_USER_ADMIN_H_
