#include "src/lab/storage/user_store.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

constexpr absl::string_view kPrefix = "users/";
constexpr size_t kMaxUserLength = 63;

bool IsUser(absl::string_view user) {
  if (user.empty() || user.size() > kMaxUserLength) return false;
  for (const char c : user) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-' &&
        c != '.' && c != '_') {
      return false;
    }
  }
  return absl::ascii_isalnum(user.front());
}

StoredUser UserOfRow(const Query& query) {
  StoredUser stored;
  stored.name = query.Text(0);
  stored.create_time = *query.Time(1);
  stored.quota.ParseFromString(query.Bytes(2));
  stored.artifact_bytes = query.Int(3);
  return stored;
}

}  // namespace

int64_t HourOf(absl::Time time) { return absl::ToUnixSeconds(time) / 3600; }

absl::StatusOr<std::string> UserOfName(absl::string_view name) {
  absl::string_view user = name;
  if (absl::ConsumePrefix(&user, kPrefix) && IsUser(user)) {
    return std::string(user);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CHexEscape(name.substr(0, 100)),
      "\" is not a user's name: give \"users/\" and 1-63 of a-z, 0-9, '-', "
      "'.', '_', beginning with a letter or digit"));
}

std::string NameOfUser(absl::string_view user) {
  return absl::StrCat(kPrefix, user);
}

absl::Status UserStore::NoSuchUser(absl::string_view user) {
  return absl::NotFoundError(
      absl::StrCat(NameOfUser(absl::CHexEscape(user)), " does not exist"));
}

absl::Status UserStore::Create(absl::string_view user, const v1::Quota& quota,
                               absl::Time now) {
  const std::string bytes = quota.SerializeAsString();
  return database_.Write([&](Connection& connection) -> absl::Status {
    Query insert(connection,
                 "INSERT INTO users (name, create_time, quota)"
                 " VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                 user, std::optional(now), Blob{bytes});
    if (insert.Run() == 1) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat(NameOfUser(user), " exists; choose another name"));
  });
}

absl::StatusOr<StoredUser> UserStore::Get(absl::string_view user) {
  StoredUser stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    Query query(connection,
                "SELECT name, create_time, quota, artifact_bytes FROM users"
                " WHERE name = ?",
                user);
    if (!query.Next()) return NoSuchUser(user);
    stored = UserOfRow(query);
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::vector<StoredUser>> UserStore::List(absl::string_view after,
                                                        int limit) {
  std::vector<StoredUser> users;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT name, create_time, quota, artifact_bytes FROM users"
                " WHERE name > ? ORDER BY name LIMIT ?",
                after, limit);
    while (query.Next()) users.push_back(UserOfRow(query));
    return absl::OkStatus();
  }));
  return users;
}

absl::Status UserStore::SetQuota(absl::string_view user,
                                 const v1::Quota& quota) {
  const std::string bytes = quota.SerializeAsString();
  return database_.Write([&](Connection& connection) -> absl::Status {
    Query query(connection, "UPDATE users SET quota = ? WHERE name = ?",
                Blob{bytes}, user);
    return query.Run() == 1 ? absl::OkStatus() : NoSuchUser(user);
  });
}

void InsertUse(Connection& connection, const HourOfUse& used) {
  Query(connection,
        "INSERT INTO usage (user, hour, device_seconds, token_count)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (user, hour) DO UPDATE SET"
        " device_seconds = device_seconds + excluded.device_seconds,"
        " token_count = token_count + excluded.token_count",
        used.user, used.hour, used.device_seconds, used.token_count)
      .Run();
}

absl::Status UserStore::AddUse(absl::Span<const HourOfUse> used) {
  return database_.Write([&](Connection& connection) {
    for (const HourOfUse& hour : used) InsertUse(connection, hour);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<HourOfUse>> UserStore::UseSince(int64_t hour) {
  std::vector<HourOfUse> hours;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT user, hour, device_seconds, token_count FROM usage"
                " WHERE hour >= ? ORDER BY user, hour",
                hour);
    while (query.Next()) {
      hours.push_back(
          {query.Text(0), query.Int(1), query.Real(2), query.Int(3)});
    }
    return absl::OkStatus();
  }));
  return hours;
}

absl::Status UserStore::ForgetUseBefore(int64_t hour) {
  return database_.Write([&](Connection& connection) {
    Query(connection, "DELETE FROM usage WHERE hour < ?", hour).Run();
    return absl::OkStatus();
  });
}

}  // namespace dissonance
