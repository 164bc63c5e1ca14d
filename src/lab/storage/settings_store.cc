#include "src/lab/storage/settings_store.h"

#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {

absl::StatusOr<std::string> SettingsStore::Get(absl::string_view name) {
  std::string value;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, "SELECT value FROM settings WHERE name = ?", name);
    if (query.Next()) value = query.Text(0);
    return absl::OkStatus();
  }));
  return value;
}

absl::Status SettingsStore::Set(absl::string_view name,
                                absl::string_view value) {
  return database_.Write([&](Connection& connection) {
    Query(connection,
          "INSERT INTO settings (name, value) VALUES (?, ?)"
          " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
          name, value)
        .Run();
    return absl::OkStatus();
  });
}

}  // namespace dissonance
