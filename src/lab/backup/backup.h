// A consistent copy of records and artifacts, made while the server works:
//
//   BACKUP/dissonance.db      the database as of the backup's beginning
//   BACKUP/artifacts/...      every artifact that it names, checked
//   BACKUP/backup.json        written last: what the backup is
//
// No secrets are in it: tokens are there as their SHA-256 alone, as in the
// database. Model and adapter files given by path are not in it either.
// Thread safe.
//
//   ASSIGN_OR_RETURN(
//       const BackupSummary summary,
//       WriteBackup(database, {.path = "/backups/monday",
//                              .code_version = DISSONANCE_VERSION,
//                              .time = clock.Now(),
//                              .hold = [&gc](auto copy) {
//                                return gc.WithoutRemovals(copy);
//                              }}));
#ifndef DISSONANCE_LAB_BACKUP_BACKUP_H_
#define DISSONANCE_LAB_BACKUP_BACKUP_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/lab/storage/database.h"

namespace dissonance {

struct BackupOptions {
  // Absolute, of a folder that does not exist yet, outside the data directory.
  std::string path;
  // Of this program, for whoever reads the backup later.
  std::string code_version;
  absl::Time time = absl::UnixEpoch();
  // Calls what it is given, once, while no artifact is removed, and returns
  // what that returns.
  std::function<absl::Status(absl::FunctionRef<absl::Status()>)> hold =
      [](absl::FunctionRef<absl::Status()> copy) { return copy(); };
};

// What backup.json holds.
struct BackupSummary {
  absl::Time time = absl::UnixEpoch();
  int64_t schema_version = 0;
  std::string code_version;
  std::string database_digest;  // "sha256:HEX"
  int64_t database_bytes = 0;
  int64_t artifact_count = 0;
  int64_t artifact_bytes = 0;
};

// Writes into <path>.part and renames that when all is there and durable; what
// fails leaves nothing. INVALID_ARGUMENT for a path that is not absolute or
// lies in the data directory; ALREADY_EXISTS for one that is taken, or whose
// .part an interrupted backup left; DATA_LOSS if the database is damaged or an
// artifact is gone or differs; RESOURCE_EXHAUSTED on a full disk.
absl::StatusOr<BackupSummary> WriteBackup(Database& database,
                                          const BackupOptions& options);

// What the backup at `path` is. FAILED_PRECONDITION if it is none, is
// unfinished, or has a format that this release does not know.
absl::StatusOr<BackupSummary> ReadBackupSummary(const std::string& path);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_BACKUP_BACKUP_H_
