// Makes a data directory of a backup. Thread safe.
//
//   RETURN_IF_ERROR(RestoreBackup("/backups/monday", "/srv/dissonance",
//                                 Clock::Real()).status());
#ifndef DISSONANCE_LAB_BACKUP_RESTORE_H_
#define DISSONANCE_LAB_BACKUP_RESTORE_H_

#include <string>

#include "absl/status/statusor.h"
#include "src/base/clock.h"
#include "src/lab/backup/backup.h"

namespace dissonance {

// Copies database and artifacts, checks every digest and the database, brings
// one of an older release up to date, and writes a new owner.token; tokens made
// before the backup are valid as they were. All of it happens in
// <data_dir>.part, which gets its name at the end; what fails leaves nothing.
//
// Both paths have to be absolute. ALREADY_EXISTS unless `data_dir` is an empty
// folder or nothing, or if <data_dir>.part is left of an interrupted restore;
// FAILED_PRECONDITION for what is no backup, or one of a newer release;
// DATA_LOSS for a damaged one.
absl::StatusOr<BackupSummary> RestoreBackup(const std::string& from,
                                            const std::string& data_dir,
                                            const Clock& clock);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_BACKUP_RESTORE_H_
