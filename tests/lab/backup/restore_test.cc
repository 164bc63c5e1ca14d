#include "src/lab/backup/restore.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/ascii.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/backup/check.h"
#include "src/lab/storage/token_store.h"
#include "tests/lab/backup/data_dir.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string TokenIn(const std::string& data_dir) {
  return std::string(absl::StripAsciiWhitespace(
      ReadFile(data_dir + "/owner.token", 1000).value_or("")));
}

class RestoreTest : public ::testing::Test {
 protected:
  RestoreTest() {
    EXPECT_TRUE(WriteOwnerToken(data_.database(), Clock::Real()).ok());
    artifact_ = data_.AddArtifact("the first");
    data_.AddArtifact("the second");
    data_.AddJob("jobs/1", 3);
    const auto summary =
        WriteBackup(data_.database(), {.path = backup_, .code_version = "1"});
    EXPECT_TRUE(summary.ok()) << summary.status();
  }

  absl::Status Restore() {
    return RestoreBackup(backup_, new_, Clock::Real()).status();
  }

  DataDir data_;
  const TempFolder elsewhere_;
  const std::string backup_ = elsewhere_.File("backup");
  const std::string new_ = elsewhere_.File("new");
  std::string artifact_;
};

TEST_F(RestoreTest, MakesADataDirectoryWithNothingWrong) {
  const absl::Status restored = Restore();
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_THAT(elsewhere_.Names(), ElementsAre("backup", "new"));
  const auto report = CheckDataDir({.data_dir = new_});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->findings, IsEmpty());
  EXPECT_EQ(report->artifact_count, 2);
  EXPECT_EQ(*ReadFile(ArtifactPath(new_, *ArtifactHex(artifact_)), 100),
            "the first");
  EXPECT_EQ(fs::status(new_).permissions(), fs::perms::owner_all);
}

TEST_F(RestoreTest, MakesANewOwnersTokenAndKeepsTheOldOnes) {
  ASSERT_TRUE(Restore().ok());
  const auto database = Database::Open({.data_dir = new_});
  ASSERT_TRUE(database.ok()) << database.status();
  TokenStore tokens(**database, Clock::Real());
  ASSERT_NE(TokenIn(new_), TokenIn(data_.path()));
  for (const std::string& token : {TokenIn(new_), TokenIn(data_.path())}) {
    const auto caller = tokens.Authenticate(token);
    ASSERT_TRUE(caller.ok()) << caller.status();
    EXPECT_EQ(caller->user, kOwnerUser);
    EXPECT_EQ(caller->scope, v1::SCOPE_ADMIN);
  }
  EXPECT_EQ(fs::status(new_ + "/owner.token").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(RestoreTest, TakesAnEmptyFolderAndNoOther) {
  fs::create_directory(new_);
  EXPECT_TRUE(Restore().ok());
  const absl::Status again = Restore();
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(again.message(), HasSubstr(new_));
  fs::remove_all(new_);
  DataDir::Write(new_, "a file");
  EXPECT_EQ(Restore().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(RestoreBackup(backup_, "new", Clock::Real()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RestoreTest, BringsAnOlderBackupUpToDate) {
  const TempFolder old;
  ASSERT_TRUE(Database::Open(
                  {.data_dir = old.path(), .migrations = Migrations().first(1)})
                  .ok());
  const std::string database = backup_ + "/dissonance.db";
  fs::copy_file(old.File("dissonance.db"), database,
                fs::copy_options::overwrite_existing);
  std::string summary = *ReadFile(backup_ + "/backup.json", 10'000);
  const auto before = ReadBackupSummary(backup_);
  ASSERT_TRUE(before.ok());
  summary.replace(summary.find(before->database_digest),
                  before->database_digest.size(), *Sha256OfFile(database));
  DataDir::Write(backup_ + "/backup.json", summary);
  const absl::Status restored = Restore();
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_TRUE(Database::Open({.data_dir = new_}).ok());
}

TEST_F(RestoreTest, RefusesADamagedBackupAndLeavesNothing) {
  const std::string file = ArtifactPath(backup_, *ArtifactHex(artifact_));
  DataDir::Write(file, "the worst");
  EXPECT_EQ(Restore().code(), absl::StatusCode::kDataLoss);
  fs::remove(file);
  EXPECT_EQ(Restore().code(), absl::StatusCode::kDataLoss);
  DataDir::Write(file, "the first");
  {
    std::fstream database(backup_ + "/dissonance.db",
                          std::ios::in | std::ios::out | std::ios::binary);
    database.seekp(5000);
    database << "x";
  }
  const absl::Status changed = Restore();
  EXPECT_EQ(changed.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(changed.message(), HasSubstr("digest"));
  fs::remove(backup_ + "/backup.json");
  EXPECT_EQ(Restore().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(elsewhere_.Names(), ElementsAre("backup"));
}

}  // namespace
}  // namespace dissonance
