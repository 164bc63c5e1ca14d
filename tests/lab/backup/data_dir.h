// A data directory with records and artifacts, written as the server does.
//
//   DataDir data;
//   data.AddArtifact("bytes");
//   data.Execute("INSERT INTO ...");
//   data.Close();
#ifndef DISSONANCE_TESTS_LAB_BACKUP_DATA_DIR_H_
#define DISSONANCE_TESTS_LAB_BACKUP_DATA_DIR_H_

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/lab/backup/artifact_files.h"
#include "src/lab/backup/owner_token.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

class DataDir {
 public:
  DataDir() { Open(); }

  void Open() {
    auto opened = Database::Open({.data_dir = path()});
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
  }
  void Close() { database_.reset(); }

  const std::string& path() const { return folder_.path(); }
  std::string File(const std::string& name) const { return folder_.File(name); }
  Database& database() { return *database_; }

  void Execute(const std::string& sql) {
    const absl::Status status = database_->Write([&](Connection& connection) {
      connection.Execute(sql);
      return absl::OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status;
  }

  // With file and row; its name.
  std::string AddArtifact(const std::string& bytes) {
    const std::string name = absl::StrCat("artifacts/", Sha256Of(bytes));
    Write(PathOf(name), bytes);
    Execute(absl::StrCat(
        "INSERT INTO artifacts (name, size_bytes, media_type, create_time)"
        " VALUES ('",
        name, "', ", bytes.size(), ", 'text/plain', 1)"));
    return name;
  }

  // With `count` events and items.
  void AddJob(const std::string& name, int count) {
    Execute(absl::StrCat(
        "INSERT INTO jobs (name, owner, state, priority, reason, attempt_count,"
        " lost_count, done_count, total_count, unit, rate, create_time,"
        " last_event_number, spec_without_data, provenance) VALUES ('",
        name, "', 'owner', 5, 2, '', 1, 0, ", count, ", ", count,
        ", 'questions', 0, 1, ", count, ", x'', x'')"));
    for (int i = 0; i < count; ++i) {
      Execute(absl::StrCat("INSERT INTO job_items VALUES ('", name, "', ", i,
                           ", x'00'); INSERT INTO job_events VALUES ('", name,
                           "', ", i + 1, ", x'00')"));
    }
  }

  std::string PathOf(const std::string& artifact) const {
    return ArtifactPath(path(), *ArtifactHex(artifact));
  }

  static void Write(const std::string& path, const std::string& bytes) {
    ASSERT_TRUE(MakeDirectories(ParentFolder(path)).ok());
    ASSERT_TRUE(WriteFileAtomically(path, bytes, 0600).ok());
  }

 private:
  const TempFolder folder_;
  std::unique_ptr<Database> database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_BACKUP_DATA_DIR_H_
