#include "src/lab/backup/backup.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/failpoint.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/artifact_files.h"
#include "src/lab/storage/database_file.h"

namespace dissonance {
namespace {

// Of the folder's layout and backup.json.
constexpr int64_t kFormat = 1;
constexpr uint64_t kSummaryLimitBytes = 1 << 20;
constexpr char kSummaryName[] = "/backup.json";
constexpr char kDatabaseName[] = "/dissonance.db";

std::string ToJson(const BackupSummary& summary) {
  const nlohmann::json json = {
      {"format", kFormat},
      {"time",
       absl::FormatTime(absl::RFC3339_full, summary.time, absl::UTCTimeZone())},
      {"schema_version", summary.schema_version},
      {"code_version", summary.code_version},
      {"database_digest", summary.database_digest},
      {"database_bytes", summary.database_bytes},
      {"artifact_count", summary.artifact_count},
      {"artifact_bytes", summary.artifact_bytes}};
  return json.dump(/*indent=*/2) + "\n";
}

absl::StatusOr<std::string> CheckPath(const BackupOptions& options,
                                      const std::string& data_dir) {
  ASSIGN_OR_RETURN(std::string path, CleanPath("path", options.path));
  if (absl::StartsWith(path + "/", data_dir + "/")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "path ", path, " lies in the data directory ", data_dir,
        " and would be lost with it: give a path on another disk"));
  }
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " exists: give a path where nothing is yet"));
  }
  if (!std::filesystem::is_directory(ParentFolder(path), error)) {
    return absl::NotFoundError(
        absl::StrCat("path ", path, ": there is no folder ", ParentFolder(path),
                     " on the server's machine; make it first"));
  }
  return path;
}

absl::StatusOr<BackupSummary> CopyAll(Database& database,
                                      const BackupOptions& options,
                                      const std::string& folder) {
  const std::string copy = folder + kDatabaseName;
  RETURN_IF_ERROR(database.BackupTo(copy));
  Failpoint("backup.database_copied");
  BackupSummary summary;
  summary.time = options.time;
  summary.code_version = options.code_version;
  std::vector<StoredArtifact> artifacts;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<DatabaseFile> file,
                     DatabaseFile::Open(copy));
    ASSIGN_OR_RETURN(summary.schema_version, file->SchemaVersion());
    ASSIGN_OR_RETURN(artifacts, file->Artifacts());
  }
  RETURN_IF_ERROR(CopyArtifacts(artifacts, database.data_dir(), folder));
  ASSIGN_OR_RETURN(summary.database_digest, Sha256OfFile(copy));
  summary.database_bytes =
      static_cast<int64_t>(std::filesystem::file_size(copy));
  summary.artifact_count = static_cast<int64_t>(artifacts.size());
  for (const StoredArtifact& artifact : artifacts) {
    summary.artifact_bytes += artifact.size_bytes;
  }
  RETURN_IF_ERROR(
      WriteFileAtomically(folder + kSummaryName, ToJson(summary), 0600));
  return summary;
}

// A member that has to be there; DATA_LOSS names it.
template <typename T>
absl::Status Read(const nlohmann::json& json, const std::string& where,
                  const char* key, T& value) {
  try {
    value = json.at(key).get<T>();
    return absl::OkStatus();
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(
        absl::StrCat(where, ": ", key,
                     " is missing or not what it should be; use another "
                     "backup"));
  }
}

}  // namespace

absl::StatusOr<BackupSummary> WriteBackup(Database& database,
                                          const BackupOptions& options) {
  ASSIGN_OR_RETURN(const std::string path,
                   CheckPath(options, database.data_dir()));
  const std::string unfinished = path + ".part";
  if (const absl::Status made = MakeFolder(unfinished);
      absl::IsAlreadyExists(made)) {
    return absl::AlreadyExistsError(
        absl::StrCat(unfinished,
                     " exists: another backup is being written there, or one "
                     "was interrupted; then remove it"));
  } else if (!made.ok()) {
    return made;
  }
  absl::Cleanup remove = [&unfinished] {
    std::error_code ignored;
    std::filesystem::remove_all(unfinished, ignored);
  };
  BackupSummary summary;
  RETURN_IF_ERROR(options.hold([&]() -> absl::Status {
    ASSIGN_OR_RETURN(summary, CopyAll(database, options, unfinished));
    return absl::OkStatus();
  }));
  Failpoint("backup.before_rename");
  RETURN_IF_ERROR(PutInPlace(unfinished, path));
  std::move(remove).Cancel();
  return summary;
}

absl::StatusOr<BackupSummary> ReadBackupSummary(const std::string& path) {
  const std::string file = path + kSummaryName;
  const absl::StatusOr<std::string> text = ReadFile(file, kSummaryLimitBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        path,
        " is not a finished backup: it has no backup.json, which is "
        "written last"));
  }
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(*text, file));
  int64_t format = 0;
  RETURN_IF_ERROR(Read(json, file, "format", format));
  if (format != kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(file, ": format ", format, "; this release knows ",
                     kFormat, ": use the release that wrote it"));
  }
  BackupSummary summary;
  std::string time;
  RETURN_IF_ERROR(Read(json, file, "time", time));
  absl::ParseTime(absl::RFC3339_full, time, &summary.time, nullptr);
  RETURN_IF_ERROR(Read(json, file, "schema_version", summary.schema_version));
  RETURN_IF_ERROR(Read(json, file, "code_version", summary.code_version));
  RETURN_IF_ERROR(Read(json, file, "database_digest", summary.database_digest));
  RETURN_IF_ERROR(Read(json, file, "database_bytes", summary.database_bytes));
  RETURN_IF_ERROR(Read(json, file, "artifact_count", summary.artifact_count));
  RETURN_IF_ERROR(Read(json, file, "artifact_bytes", summary.artifact_bytes));
  return summary;
}

}  // namespace dissonance
