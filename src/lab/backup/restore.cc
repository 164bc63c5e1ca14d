#include "src/lab/backup/restore.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "src/base/failpoint.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/artifact_files.h"
#include "src/lab/backup/owner_token.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/database_file.h"

namespace dissonance {
namespace {

absl::Status CheckFree(const std::string& data_dir) {
  std::error_code error;
  const auto status = std::filesystem::symlink_status(data_dir, error);
  if (!std::filesystem::exists(status)) return absl::OkStatus();
  if (std::filesystem::is_directory(status) &&
      std::filesystem::is_empty(data_dir, error)) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(absl::StrCat(
      data_dir,
      " is not an empty folder: restore into a new one, then move it "
      "where you need it"));
}

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, " ", what, ": use another backup"));
}

// The database under another name, so that no server starts on what is not
// complete, and the artifacts that it names.
absl::Status CopyAll(const BackupSummary& summary, const std::string& from,
                     const std::string& folder, const std::string& database) {
  const std::string source = from + "/dissonance.db";
  ASSIGN_OR_RETURN(const CopiedFile copied, CopyFile(source, database));
  if (copied.digest != summary.database_digest) {
    return Damaged(source, "does not match the digest in backup.json");
  }
  Failpoint("restore.database_copied");
  ASSIGN_OR_RETURN(const std::unique_ptr<DatabaseFile> file,
                   DatabaseFile::Open(database));
  RETURN_IF_ERROR(file->CheckSchema(/*allow_older=*/true));
  ASSIGN_OR_RETURN(const std::vector<std::string> damage,
                   file->Damage(/*quick=*/false));
  if (!damage.empty()) return Damaged(source, damage.front());
  ASSIGN_OR_RETURN(const std::vector<StoredArtifact> artifacts,
                   file->Artifacts());
  return CopyArtifacts(artifacts, from, folder);
}

absl::Status Finish(const std::string& folder, const std::string& database,
                    const Clock& clock) {
  const std::string path = folder + "/dissonance.db";
  if (std::rename(database.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot rename to ", path));
  }
  // The backup is the way back, so an older one may be upgraded.
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> opened,
                   Database::Open({.data_dir = folder, .allow_upgrade = true}));
  return WriteOwnerToken(*opened, clock);
}

}  // namespace

absl::StatusOr<BackupSummary> RestoreBackup(const std::string& from_path,
                                            const std::string& data_dir_path,
                                            const Clock& clock) {
  ASSIGN_OR_RETURN(const std::string from, CleanPath("from", from_path));
  ASSIGN_OR_RETURN(const std::string data_dir,
                   CleanPath("data_dir", data_dir_path));
  ASSIGN_OR_RETURN(BackupSummary summary, ReadBackupSummary(from));
  RETURN_IF_ERROR(CheckFree(data_dir));
  RETURN_IF_ERROR(MakeDirectories(ParentFolder(data_dir)));
  const std::string unfinished = data_dir + ".part";
  if (const absl::Status made = MakeFolder(unfinished);
      absl::IsAlreadyExists(made)) {
    return absl::AlreadyExistsError(
        absl::StrCat(unfinished,
                     " exists, of a restore that was interrupted "
                     "or goes on: see that none runs, and remove it"));
  } else if (!made.ok()) {
    return made;
  }
  absl::Cleanup remove = [&unfinished] {
    std::error_code ignored;
    std::filesystem::remove_all(unfinished, ignored);
  };
  const std::string database = unfinished + "/database.unfinished";
  RETURN_IF_ERROR(CopyAll(summary, from, unfinished, database));
  RETURN_IF_ERROR(Finish(unfinished, database, clock));
  Failpoint("restore.before_rename");
  RETURN_IF_ERROR(PutInPlace(unfinished, data_dir));
  std::move(remove).Cancel();
  return summary;
}

}  // namespace dissonance
