// Backups and restores that are killed half-way, each in a process of its own.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "src/lab/backup/backup.h"
#include "src/lab/backup/restore.h"
#include "tests/lab/backup/data_dir.h"
#include "tests/lab/storage/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

class InterruptedTest : public ::testing::Test {
 protected:
  InterruptedTest() {
    data_.AddArtifact("the first");
    data_.Close();
  }

  int Backup(const char* failpoint) {
    return RunInChild([&]() -> absl::Status {
      ::setenv("DISSONANCE_FAILPOINT", failpoint, 1);
      data_.Open();
      const auto summary =
          WriteBackup(data_.database(), {.path = backup_, .code_version = ""});
      data_.Close();
      return summary.status();
    });
  }

  int Restore(const char* failpoint) {
    return RunInChild([&] {
      ::setenv("DISSONANCE_FAILPOINT", failpoint, 1);
      return RestoreBackup(backup_, new_, Clock::Real()).status();
    });
  }

  DataDir data_;
  const TempFolder elsewhere_;
  const std::string backup_ = elsewhere_.File("backup");
  const std::string new_ = elsewhere_.File("new");
};

TEST_F(InterruptedTest, ABackupIsNoneUntilItIsWhole) {
  for (const char* failpoint :
       {"backup.database_copied", "backup.before_rename"}) {
    EXPECT_TRUE(WIFSIGNALED(Backup(failpoint))) << failpoint;
    EXPECT_FALSE(fs::exists(backup_)) << failpoint;
    ASSERT_TRUE(fs::exists(backup_ + ".part")) << failpoint;
    // It is not written over: somebody might be writing there.
    EXPECT_FALSE(ExitedWell(Backup(""))) << failpoint;
    fs::remove_all(backup_ + ".part");
  }
  EXPECT_TRUE(ExitedWell(Backup("")));
  EXPECT_TRUE(ReadBackupSummary(backup_).ok());
}

TEST_F(InterruptedTest, ARestoreLeavesNothingThatAServerFinds) {
  ASSERT_TRUE(ExitedWell(Backup("")));
  for (const char* failpoint :
       {"restore.database_copied", "restore.before_rename"}) {
    EXPECT_TRUE(WIFSIGNALED(Restore(failpoint))) << failpoint;
    EXPECT_FALSE(fs::exists(new_)) << failpoint;
    ASSERT_TRUE(fs::exists(new_ + ".part")) << failpoint;
    EXPECT_FALSE(ExitedWell(Restore(""))) << failpoint;
    fs::remove_all(new_ + ".part");
  }
  EXPECT_TRUE(ExitedWell(Restore("")));
  EXPECT_TRUE(Database::Open({.data_dir = new_, .must_exist = true}).ok());
}

TEST_F(InterruptedTest, NoDatabaseIsThereBeforeEverythingIsCopied) {
  ASSERT_TRUE(ExitedWell(Backup("")));
  EXPECT_TRUE(WIFSIGNALED(Restore("restore.database_copied")));
  ASSERT_TRUE(fs::exists(new_ + ".part"));
  EXPECT_FALSE(fs::exists(new_ + ".part/dissonance.db"));
}

}  // namespace
}  // namespace dissonance
