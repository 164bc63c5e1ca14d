// What an operator switched and a restart must not forget. Thread safe. Borrows
// the database.
#ifndef DISSONANCE_LAB_STORAGE_SETTINGS_STORE_H_
#define DISSONANCE_LAB_STORAGE_SETTINGS_STORE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/lab/storage/database.h"

namespace dissonance {

class SettingsStore {
 public:
  explicit SettingsStore(Database& database) : database_(database) {}

  // Empty if it was never set.
  absl::StatusOr<std::string> Get(absl::string_view name);
  absl::Status Set(absl::string_view name, absl::string_view value);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_SETTINGS_STORE_H_
