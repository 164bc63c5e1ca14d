#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/space_reserve.h"
#include "tests/lab/storage/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Migration kSchema[] = {
    {.number = 1, .sql = "CREATE TABLE data (bytes BLOB NOT NULL) STRICT"}};

absl::Status Insert(Database& database, size_t size) {
  const std::string bytes(size, 'x');
  return database.Write([&](Connection& connection) {
    Query(connection, "INSERT INTO data VALUES (?)", Blob{bytes}).Run();
    return absl::OkStatus();
  });
}

int64_t CountRows(Database& database) {
  int64_t count = -1;
  const absl::Status status = database.Read([&](Connection& connection) {
    Query query(connection, "SELECT count(*) FROM data");
    if (query.Next()) count = query.Int(0);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return count;
}

absl::Status Outcome() {
  return ::testing::Test::HasFailure() ? absl::InternalError("see above")
                                       : absl::OkStatus();
}

TEST(DiskFull, AReserveLeavesRoomForTheLastWord) {
  TempFolder dir;
  if (::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    SpaceReserve reserve(dir.path() + "/reserve");
    reserve.Hold();
    reserve.Hold();
    auto database =
        Database::Open({.data_dir = dir.path(), .migrations = kSchema});
    if (!database.ok()) return database.status();
    absl::Status full;
    while (full.ok()) full = Insert(**database, 3000);
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
    EXPECT_TRUE(reserve.Release());
    EXPECT_FALSE(reserve.Release());
    EXPECT_TRUE(Insert(**database, 3000).ok());
    return Outcome();
  })));
  ::umount2(dir.path().c_str(), MNT_DETACH);
}

TEST(DiskFull, KeepsNothingOfTheTransactionAndNamesTheFile) {
  TempFolder dir;
  if (::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    auto database =
        Database::Open({.data_dir = dir.path(), .migrations = kSchema});
    if (!database.ok()) return database.status();
    EXPECT_TRUE(Insert(**database, 1000).ok());
    const absl::Status full = Insert(**database, 2 << 20);
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
    EXPECT_THAT(full.message(),
                AllOf(HasSubstr(dir.path()), HasSubstr("nothing was changed")));
    EXPECT_EQ(CountRows(**database), 1);
    EXPECT_TRUE(Insert(**database, 1000).ok());
    EXPECT_EQ(CountRows(**database), 2);
    return Outcome();
  })));
  ::umount(dir.path().c_str());
}

TEST(FileSizeLimit, KeepsNothingOfTheTransactionAndNamesTheFile) {
  TempFolder dir;
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    auto database =
        Database::Open({.data_dir = dir.path(), .migrations = kSchema});
    if (!database.ok()) return database.status();
    EXPECT_TRUE(Insert(**database, 1000).ok());
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) {
      return absl::InternalError("setrlimit");
    }
    const absl::Status full = Insert(**database, 2 << 20);
    EXPECT_FALSE(full.ok());
    EXPECT_THAT(full.message(),
                AllOf(HasSubstr(dir.path()), HasSubstr("nothing was changed")));
    EXPECT_EQ(CountRows(**database), 1);
    EXPECT_TRUE(Insert(**database, 1000).ok());
    return Outcome();
  })));
}

}  // namespace
}  // namespace dissonance
