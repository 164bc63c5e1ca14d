// Users: their quotas, and what they used, hour by hour. Thread safe. Borrows
// the database.
//
//   RETURN_IF_ERROR(users.Create("ada", quota, clock.Now()));
//   ASSIGN_OR_RETURN(StoredUser ada, users.Get("ada"));
#ifndef DISSONANCE_LAB_STORAGE_USER_STORE_H_
#define DISSONANCE_LAB_STORAGE_USER_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "dissonance/v1/admin.pb.h"
#include "src/lab/storage/database.h"

namespace dissonance {

class Connection;

// The user made at the first start.
inline constexpr absl::string_view kOwnerUser = "owner";

struct StoredUser {
  std::string name;  // without "users/"
  absl::Time create_time;
  v1::Quota quota;
  int64_t artifact_bytes = 0;
};

// What a user used in an hour, or is to be added to it.
struct HourOfUse {
  std::string user;
  int64_t hour = 0;  // since 1970
  double device_seconds = 0;
  int64_t token_count = 0;
};

// The hour that a time is in.
int64_t HourOf(absl::Time time);

// "users/ada" to "ada". INVALID_ARGUMENT if it is not a user's name: 1-63 of
// a-z, 0-9, '-', '.', '_', beginning with a letter or digit.
absl::StatusOr<std::string> UserOfName(absl::string_view name);
// "ada" to "users/ada".
std::string NameOfUser(absl::string_view user);

class UserStore {
 public:
  explicit UserStore(Database& database) : database_(database) {}

  // NOT_FOUND, worded the same wherever a user is unknown or not to be seen.
  static absl::Status NoSuchUser(absl::string_view user);

  // ALREADY_EXISTS if the name is taken.
  absl::Status Create(absl::string_view user, const v1::Quota& quota,
                      absl::Time now);
  // NOT_FOUND if unknown, here and below.
  absl::StatusOr<StoredUser> Get(absl::string_view user);
  // By name, those after `after`, at most `limit`.
  absl::StatusOr<std::vector<StoredUser>> List(absl::string_view after,
                                               int limit);
  absl::Status SetQuota(absl::string_view user, const v1::Quota& quota);

  // Adds to what was used, in one transaction.
  absl::Status AddUse(absl::Span<const HourOfUse> used);
  // What was used from `hour` on.
  absl::StatusOr<std::vector<HourOfUse>> UseSince(int64_t hour);
  // Forgets hours before `hour`.
  absl::Status ForgetUseBefore(int64_t hour);

 private:
  Database& database_;
};

// For other stores' transactions, in this folder only.
void InsertUse(Connection& connection, const HourOfUse& used);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_USER_STORE_H_
