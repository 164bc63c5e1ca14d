// Reads a database that no server uses: the one of a backup, or one that is to
// be checked. Changes nothing. Not thread safe. Owns its connection.
//
//   ASSIGN_OR_RETURN(auto file, DatabaseFile::Open(path));
//   RETURN_IF_ERROR(file->CheckSchema());
//   ASSIGN_OR_RETURN(std::vector<StoredArtifact> artifacts,
//                    file->Artifacts());
#ifndef DISSONANCE_LAB_STORAGE_DATABASE_FILE_H_
#define DISSONANCE_LAB_STORAGE_DATABASE_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dissonance {

class Connection;

// An artifact that the database says is there.
struct StoredArtifact {
  std::string name;  // "artifacts/sha256:HEX"
  int64_t size_bytes = 0;
};

class DatabaseFile {
 public:
  // NOT_FOUND without such a file.
  static absl::StatusOr<std::unique_ptr<DatabaseFile>> Open(
      const std::string& path);
  ~DatabaseFile();

  // Of the last step that was applied; 0: an empty database.
  absl::StatusOr<int64_t> SchemaVersion();
  // As Database::Open refuses: another program's, newer, older, damaged; and an
  // empty one. `allow_older` lets older ones pass.
  absl::Status CheckSchema(bool allow_older);

  // Every artifact, by name.
  absl::StatusOr<std::vector<StoredArtifact>> Artifacts();
  // Who names an artifact, e.g. "jobs/01J (metrics.json)" or an adapter's name:
  // at most three.
  absl::StatusOr<std::vector<std::string>> NamedBy(const std::string& artifact);

  // What SQLite finds wrong, a line each, at most 20. Every page is read;
  // `quick` leaves out whether indexes agree with their tables.
  absl::StatusOr<std::vector<std::string>> Damage(bool quick);
  // Rows that name others which do not exist, a line each, at most 20.
  absl::StatusOr<std::vector<std::string>> DanglingRows();
  // Jobs whose events or items have gaps, a line each, at most 20.
  absl::StatusOr<std::vector<std::string>> Gaps();

 private:
  DatabaseFile(std::string path, std::unique_ptr<Connection> connection);

  absl::Status Run(absl::FunctionRef<absl::Status(Connection&)> body);

  const std::string path_;
  const std::unique_ptr<Connection> connection_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_DATABASE_FILE_H_
