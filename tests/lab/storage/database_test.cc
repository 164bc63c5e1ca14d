#include "src/lab/storage/database.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "SQLiteCpp/Database.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "tests/lab/storage/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Migration kTwoSteps[] = {
    {.number = 1, .sql = "CREATE TABLE one (a INTEGER NOT NULL) STRICT"},
    {.number = 2, .sql = "CREATE TABLE two (b INTEGER NOT NULL) STRICT"}};
constexpr Migration kOtherFirstStep[] = {
    {.number = 1, .sql = "CREATE TABLE other (a INTEGER NOT NULL) STRICT"}};

std::string DatabasePath(const TempFolder& dir) {
  return dir.path() + "/dissonance.db";
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::StatusOr<std::unique_ptr<Database>> OpenWith(
    const TempFolder& dir, absl::Span<const Migration> migrations,
    bool allow_upgrade = false) {
  return Database::Open({.data_dir = dir.path(),
                         .allow_upgrade = allow_upgrade,
                         .migrations = migrations});
}

int64_t CountRows(Database& database, const std::string& table) {
  int64_t count = -1;
  EXPECT_TRUE(database
                  .Read([&](Connection& connection) {
                    Query query(connection, "SELECT count(*) FROM " + table);
                    if (query.Next()) count = query.Int(0);
                    return absl::OkStatus();
                  })
                  .ok());
  return count;
}

absl::Status InsertOne(Database& database) {
  return database.Write([](Connection& connection) {
    connection.Execute("INSERT INTO one VALUES (1)");
    return absl::OkStatus();
  });
}

TEST(Database, MakesItsFolderForThisUserOnly) {
  TempFolder dir;
  const std::string nested = dir.path() + "/a/b/";
  auto database = Database::Open({.data_dir = nested});
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_EQ((*database)->path(), dir.path() + "/a/b/dissonance.db");
  struct stat info {};
  ASSERT_EQ(::stat(nested.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST(Database, SurvivesAPowerCutByItsSettings) {
  TempFolder dir;
  auto database = OpenWith(dir, kTwoSteps);
  ASSERT_TRUE(database.ok()) << database.status();
  const auto pragma = [](Connection& connection, const std::string& name) {
    Query query(connection, "PRAGMA " + name);
    return query.Next() ? query.Text(0) : "";
  };
  const absl::Status status = (*database)->Write([&](Connection& connection) {
    EXPECT_EQ(pragma(connection, "journal_mode"), "wal");
    EXPECT_EQ(pragma(connection, "synchronous"), "2");
    EXPECT_EQ(pragma(connection, "foreign_keys"), "1");
    EXPECT_EQ(pragma(connection, "user_version"), "2");
    EXPECT_EQ(pragma(connection, "application_id"),
              absl::StrCat(kApplicationId));
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Database, KeepsNothingOfATransactionThatFails) {
  TempFolder dir;
  auto database = OpenWith(dir, kTwoSteps);
  ASSERT_TRUE(database.ok()) << database.status();
  const absl::Status refused = (*database)->Write([](Connection& connection) {
    connection.Execute("INSERT INTO one VALUES (1)");
    return absl::AbortedError("changed my mind");
  });
  EXPECT_EQ(refused, absl::AbortedError("changed my mind"));
  const absl::Status threw = (*database)->Write([](Connection& connection) {
    connection.Execute("INSERT INTO one VALUES (1)");
    connection.Execute("INSERT INTO one VALUES ('not a number')");
    return absl::OkStatus();
  });
  EXPECT_EQ(threw.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(threw.message(), HasSubstr(DatabasePath(dir)));
  EXPECT_EQ(CountRows(**database, "one"), 0);
  EXPECT_TRUE(InsertOne(**database).ok());
  EXPECT_EQ(CountRows(**database, "one"), 1);
}

TEST(Database, ReadersCannotWrite) {
  TempFolder dir;
  auto database = OpenWith(dir, kTwoSteps);
  ASSERT_TRUE(database.ok()) << database.status();
  const absl::Status status = (*database)->Read([](Connection& connection) {
    connection.Execute("INSERT INTO one VALUES (1)");
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
}

TEST(Database, RefusesASecondOpenerWithTheHoldersPid) {
  TempFolder dir;
  auto first = OpenWith(dir, kTwoSteps);
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string holder = absl::StrCat("process ", ::getpid());
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    const auto second = OpenWith(dir, kTwoSteps);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(second.status().message(),
                AllOf(HasSubstr(holder), HasSubstr(dir.path()),
                      HasSubstr("--data-dir")));
    return ::testing::Test::HasFailure() ? absl::InternalError("refused ill")
                                         : absl::OkStatus();
  })));
  first->reset();
  EXPECT_TRUE(OpenWith(dir, kTwoSteps).ok());
}

TEST(Database, ALockDiesWithItsHolder) {
  TempFolder dir;
  EXPECT_TRUE(WIFSIGNALED(RunInChild([&]() -> absl::Status {
    const auto database = OpenWith(dir, kTwoSteps);
    if (!database.ok()) return database.status();
    ::raise(SIGKILL);
    return absl::OkStatus();
  })));
  EXPECT_TRUE(OpenWith(dir, kTwoSteps).ok());
}

TEST(Database, KeepsWhatAKilledProcessCommittedAndNothingElse) {
  TempFolder dir;
  EXPECT_TRUE(WIFSIGNALED(RunInChild([&]() -> absl::Status {
    auto database = OpenWith(dir, kTwoSteps);
    if (!database.ok()) return database.status();
    if (!InsertOne(**database).ok()) return absl::InternalError("insert");
    return (*database)->Write([](Connection& connection) {
      connection.Execute("INSERT INTO one VALUES (2)");
      ::raise(SIGKILL);
      return absl::OkStatus();
    });
  })));
  auto database = OpenWith(dir, kTwoSteps);
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_EQ(CountRows(**database, "one"), 1);
}

TEST(Database, RefusesANewerOne) {
  TempFolder dir;
  ASSERT_TRUE(OpenWith(dir, kTwoSteps).ok());
  const auto older_release =
      OpenWith(dir, absl::MakeConstSpan(kTwoSteps).first(1));
  EXPECT_EQ(older_release.status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(older_release.status().message(),
              AllOf(HasSubstr(DatabasePath(dir)), HasSubstr("newer release"),
                    HasSubstr("--data-dir")));
  EXPECT_TRUE(OpenWith(dir, kTwoSteps).ok());
}

TEST(Database, UpgradesAnOlderOneOnlyWhenAllowed) {
  TempFolder dir;
  {
    auto old = OpenWith(dir, absl::MakeConstSpan(kTwoSteps).first(1));
    ASSERT_TRUE(old.ok()) << old.status();
    ASSERT_TRUE(InsertOne(**old).ok());
  }
  const auto refused = OpenWith(dir, kTwoSteps);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("--upgrade-database"));
  auto upgraded = OpenWith(dir, kTwoSteps, /*allow_upgrade=*/true);
  ASSERT_TRUE(upgraded.ok()) << upgraded.status();
  EXPECT_EQ(CountRows(**upgraded, "one"), 1);
  EXPECT_EQ(CountRows(**upgraded, "two"), 0);
  EXPECT_EQ(CountRows(**upgraded, "migrations"), 2);
}

TEST(Database, RefusesAnotherHistory) {
  TempFolder dir;
  ASSERT_TRUE(OpenWith(dir, kOtherFirstStep).ok());
  const auto refused = OpenWith(dir, absl::MakeConstSpan(kTwoSteps).first(1));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("step 1"));
}

TEST(Database, LeavesAnotherProgramsDatabaseAlone) {
  TempFolder dir;
  SQLite::Database(DatabasePath(dir),
                   SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE theirs (a)");
  const std::string before = Contents(DatabasePath(dir));
  const auto refused = Database::Open({.data_dir = dir.path()});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("another program"));
  EXPECT_EQ(Contents(DatabasePath(dir)), before);
}

TEST(Database, RefusesAFileThatIsNoDatabaseWithTheWayToRecover) {
  TempFolder dir;
  std::ofstream(DatabasePath(dir)) << std::string(8192, 'x');
  const auto refused = Database::Open({.data_dir = dir.path()});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr(DatabasePath(dir)), HasSubstr(".recover")));
  EXPECT_EQ(Contents(DatabasePath(dir)), std::string(8192, 'x'));
}

TEST(Database, RefusesADamagedOneWithTheWayToRecover) {
  TempFolder dir;
  ASSERT_TRUE(Database::Open({.data_dir = dir.path()}).ok());
  const size_t size = Contents(DatabasePath(dir)).size();
  {
    // Everything after the first page.
    std::fstream file(DatabasePath(dir),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(size - 4096, '\x7f');
  }
  const auto refused = Database::Open({.data_dir = dir.path()});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDataLoss)
      << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr(".recover"));
}

TEST(Database, RefusesOneWithADamagedPageThatTheStartDoesNotUse) {
  TempFolder dir;
  {
    auto database = OpenWith(dir, kTwoSteps);
    ASSERT_TRUE(database.ok()) << database.status();
    const absl::Status filled = (*database)->Write([](Connection& connection) {
      for (int i = 0; i < 5000; ++i) {
        connection.Execute("INSERT INTO one VALUES (1)");
      }
      return absl::OkStatus();
    });
    ASSERT_TRUE(filled.ok()) << filled;
  }
  {
    // The last page holds rows of the table.
    std::fstream file(DatabasePath(dir),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-4096, std::ios::end);
    file << std::string(4096, '\x7f');
  }
  const auto refused = OpenWith(dir, kTwoSteps);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDataLoss)
      << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr(".recover"));
}

TEST(Database, RefusesATruncatedOne) {
  TempFolder dir;
  ASSERT_TRUE(Database::Open({.data_dir = dir.path()}).ok());
  ASSERT_EQ(::truncate(DatabasePath(dir).c_str(), 3 * 4096), 0);
  EXPECT_EQ(Database::Open({.data_dir = dir.path()}).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(Database, SaysWhatToDoWhereThisUserMayNotWrite) {
  if (::getuid() != 0) GTEST_SKIP() << "NEEDS ROOT to become another user";
  TempFolder dir;
  ASSERT_TRUE(Database::Open({.data_dir = dir.path()}).ok());
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((dir.path() + "/lock").c_str(), 0666), 0);
  const std::string closed = dir.path() + "/closed";
  ASSERT_EQ(::mkdir(closed.c_str(), 0700), 0);
  EXPECT_TRUE(ExitedWell(RunInChild([&]() -> absl::Status {
    constexpr uid_t kNobody = 65534;
    if (::setresuid(kNobody, kNobody, kNobody) != 0) {
      return absl::InternalError("setresuid");
    }
    const auto refused = Database::Open({.data_dir = dir.path()});
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied)
        << refused.status();
    EXPECT_THAT(refused.status().message(), HasSubstr(DatabasePath(dir)));
    const auto hidden = Database::Open({.data_dir = closed + "/data"});
    EXPECT_EQ(hidden.status().code(), absl::StatusCode::kPermissionDenied)
        << hidden.status();
    return ::testing::Test::HasFailure() ? absl::InternalError("refused ill")
                                         : absl::OkStatus();
  })));
}

}  // namespace
}  // namespace dissonance
