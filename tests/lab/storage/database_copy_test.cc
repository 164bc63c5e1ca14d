#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr Migration kSchema[] = {
    {.number = 1,
     .sql = "CREATE TABLE one (n INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;"
            "CREATE TABLE two (n INTEGER NOT NULL) STRICT"}};

class DatabaseCopyTest : public ::testing::Test {
 protected:
  DatabaseCopyTest() {
    auto database =
        Database::Open({.data_dir = folder_.path(), .migrations = kSchema});
    EXPECT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
  }

  // One row of each table, in one transaction.
  absl::Status Insert(int n, size_t bytes) {
    const std::string data(bytes, static_cast<char>(n));
    return database_->Write([&](Connection& connection) {
      Query(connection, "INSERT INTO one VALUES (?, ?)", n, Blob{data}).Run();
      Query(connection, "INSERT INTO two VALUES (?)", n).Run();
      return absl::OkStatus();
    });
  }

  // Opens a copy as a database of its own and asks for a number.
  static int64_t Ask(const std::string& copy, const std::string& sql) {
    const TempFolder folder;
    std::filesystem::copy_file(copy, folder.File("dissonance.db"));
    const auto database =
        Database::Open({.data_dir = folder.path(), .migrations = kSchema});
    EXPECT_TRUE(database.ok()) << database.status();
    int64_t number = -1;
    EXPECT_TRUE((*database)
                    ->Read([&](Connection& connection) {
                      Query query(connection, sql);
                      if (query.Next()) number = query.Int(0);
                      return absl::OkStatus();
                    })
                    .ok());
    return number;
  }

  const TempFolder folder_;
  const TempFolder elsewhere_;
  const std::string copy_ = elsewhere_.File("copy.db");
  std::unique_ptr<Database> database_;
};

TEST_F(DatabaseCopyTest, HoldsWhatWasCommittedAndNothingElseThereIs) {
  for (int n = 0; n < 10; ++n) ASSERT_TRUE(Insert(n, 10'000).ok());
  const absl::Status copied = database_->BackupTo(copy_);
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(elsewhere_.Names().size(), 1U);
  EXPECT_EQ(Ask(copy_, "SELECT count(*) FROM one"), 10);
  EXPECT_EQ(Ask(copy_, "SELECT sum(length(bytes)) FROM one"), 100'000);
  EXPECT_EQ(Ask(copy_, "PRAGMA user_version"), 1);
}

TEST_F(DatabaseCopyTest, FinishesUnderConstantWritingWhichGoesOn) {
  // Enough that copying takes many times as long as a write.
  for (int n = 0; n < 20; ++n) ASSERT_TRUE(Insert(n, 1 << 20).ok());
  std::atomic<bool> stop = false;
  std::atomic<int> written = 0;
  std::thread writer([&] {
    for (int n = 0; !stop; ++n) {
      EXPECT_TRUE(Insert(n, 100).ok());
      ++written;
    }
  });
  while (written == 0) std::this_thread::yield();
  const int before = written;
  const absl::Status copied = database_->BackupTo(copy_);
  const int after = written;
  stop = true;
  writer.join();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_GT(after, before);
  const int64_t rows = Ask(copy_, "SELECT count(*) FROM one");
  EXPECT_GE(rows, 20 + before);
  EXPECT_LE(rows, 20 + after + 1);
  // One snapshot: no transaction is in it by half.
  EXPECT_EQ(Ask(copy_, "SELECT count(*) FROM two"), rows);
}

TEST_F(DatabaseCopyTest, NeverWritesOverAFile) {
  std::ofstream(copy_) << "precious";
  const absl::Status refused = database_->BackupTo(copy_);
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists) << refused;
  EXPECT_THAT(refused.message(), HasSubstr(copy_));
  EXPECT_EQ(std::filesystem::file_size(copy_), 8U);
}

TEST_F(DatabaseCopyTest, RefusesToCopyDamageAndLeavesNothing) {
  for (int n = 0; n < 100; ++n) ASSERT_TRUE(Insert(n, 3'000).ok());
  database_.reset();
  auto opened =
      Database::Open({.data_dir = folder_.path(), .migrations = kSchema});
  ASSERT_TRUE(opened.ok()) << opened.status();
  {
    std::fstream file(folder_.File("dissonance.db"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10 * 4096);
    file << std::string(size_t{20} * 4096, '\x7f');
  }
  const absl::Status refused = (*opened)->BackupTo(copy_);
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  EXPECT_TRUE(elsewhere_.Names().empty());
}

TEST_F(DatabaseCopyTest, NamesTheCopyThatCannotBeMade) {
  const std::string nowhere = elsewhere_.File("missing/copy.db");
  const absl::Status refused = database_->BackupTo(nowhere);
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.message(), HasSubstr(nowhere));
}

}  // namespace
}  // namespace dissonance
