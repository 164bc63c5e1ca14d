// The schema's history: numbered steps that are only ever appended to. What
// was applied is written in the database with a digest of each step's SQL, so
// that a database whose history differs is recognised and left alone.
// Functions are thread safe.
#ifndef DISSONANCE_LAB_STORAGE_MIGRATIONS_H_
#define DISSONANCE_LAB_STORAGE_MIGRATIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dissonance {

class Connection;

// The SQLite application id of our databases: "DISS".
inline constexpr int32_t kApplicationId = 0x44495353;

// Step `number` (from 1, without gaps) of the schema.
struct Migration {
  int number;
  const char* sql;
};

// This release's history.
absl::Span<const Migration> Migrations();

// Whether `connection` holds a database that `migrations` can work with.
// FAILED_PRECONDITION if it is another program's, newer, differs in its
// history, or is older and `allow_upgrade` is false. DATA_LOSS if damaged.
// Throws SQLite::Exception where SQLite does.
absl::Status CheckSchema(Connection& connection, const std::string& path,
                         absl::Span<const Migration> migrations,
                         bool allow_upgrade);

// Applies the steps that are missing, in one transaction.
// REQUIRES: CheckSchema returned OK. Throws SQLite::Exception.
void ApplyMigrations(Connection& connection,
                     absl::Span<const Migration> migrations);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_MIGRATIONS_H_
