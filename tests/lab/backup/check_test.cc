#include "src/lab/backup/check.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "SQLiteCpp/Database.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lab/backup/data_dir.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CheckTest : public ::testing::Test {
 protected:
  CheckTest() {
    artifact_ = data_.AddArtifact("the first");
    data_.AddArtifact("the second");
    data_.AddJob("jobs/1", 3);
    data_.AddJob("jobs/2", 0);
    data_.Execute(absl::StrCat(
        "INSERT INTO job_outputs VALUES ('jobs/1', 'a.json', '", artifact_,
        "', 9, 0); INSERT INTO models VALUES ('models/m', 1, 1, x'');"
        "INSERT INTO adapters VALUES ('models/m/adapters/a', 'models/m', 1,"
        " x''); INSERT INTO adapter_artifacts VALUES ('models/m/adapters/a', '",
        artifact_, "')"));
  }

  CheckReport Check(bool quick = false, bool repair = false) {
    data_.Close();
    const auto report = CheckDataDir({.data_dir = data_.path(),
                                      .quick = quick,
                                      .repair = repair,
                                      .now = Clock::Real().Now()});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.value_or(CheckReport());
  }

  // What is wrong, without the advice.
  std::vector<std::string> Wrong(bool quick = false) {
    std::vector<std::string> lines;
    for (const Finding& finding : Check(quick).findings) {
      EXPECT_FALSE(finding.advice.empty());
      lines.push_back(finding.what);
    }
    return lines;
  }

  DataDir data_;
  std::string artifact_;
};

TEST_F(CheckTest, FindsNothingWhereNothingIsWrong) {
  const CheckReport report = Check();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.artifact_count, 2);
  EXPECT_EQ(report.artifact_bytes, 19);
  EXPECT_EQ(report.schema_version, static_cast<int64_t>(Migrations().size()));
}

TEST_F(CheckTest, NamesAMissingArtifactAndWhoNeedsIt) {
  fs::remove(data_.PathOf(artifact_));
  EXPECT_THAT(Wrong(/*quick=*/true),
              ElementsAre(AllOf(HasSubstr(artifact_), HasSubstr("has no file"),
                                HasSubstr("jobs/1 (a.json)"),
                                HasSubstr("models/m/adapters/a"))));
}

TEST_F(CheckTest, NamesADirectionWhoseVectorsAreMissing) {
  const std::string vectors = data_.AddArtifact("vectors");
  data_.Execute(absl::StrCat(
      "INSERT INTO directions VALUES ('directions/truth', 'ada', 0, '", vectors,
      "', x'')"));
  EXPECT_THAT(Wrong(), IsEmpty());
  fs::remove(data_.PathOf(vectors));
  EXPECT_THAT(
      Wrong(/*quick=*/true),
      ElementsAre(AllOf(HasSubstr(vectors), HasSubstr("directions/truth"))));
}

TEST_F(CheckTest, NamesAnArtifactOfAnotherSize) {
  DataDir::Write(data_.PathOf(artifact_), "longer than it");
  EXPECT_THAT(Wrong(/*quick=*/true),
              ElementsAre(HasSubstr("has 14 bytes instead of 9")));
}

TEST_F(CheckTest, NamesAnArtifactOfAnotherDigestUnlessQuick) {
  DataDir::Write(data_.PathOf(artifact_), "the worst");
  EXPECT_THAT(Wrong(/*quick=*/true), IsEmpty());
  EXPECT_THAT(Wrong(),
              ElementsAre(AllOf(HasSubstr(artifact_), HasSubstr("digest"))));
}

TEST_F(CheckTest, NamesOnlyTheFirstOfManyBadArtifacts) {
  for (int i = 0; i < 30; ++i) {
    fs::remove(data_.PathOf(data_.AddArtifact(absl::StrCat(i))));
  }
  const std::vector<std::string> wrong = Wrong();
  EXPECT_THAT(wrong, SizeIs(21));
  EXPECT_EQ(wrong.back(), "so are 10 more artifacts");
}

TEST_F(CheckTest, NamesJobsWhoseEventsHaveGaps) {
  data_.AddJob("jobs/3", 3);
  data_.AddJob("jobs/4", 3);
  data_.AddJob("jobs/5", 3);
  data_.Execute(
      "DELETE FROM job_events WHERE job = 'jobs/1' AND number = 2;"
      "DELETE FROM job_events WHERE job = 'jobs/3' AND number = 1;"
      "DELETE FROM job_events WHERE job = 'jobs/4' AND number = 3;"
      "DELETE FROM job_events WHERE job = 'jobs/5'");
  EXPECT_THAT(Wrong(), ElementsAre(HasSubstr("jobs/1 has 2 events, 1 to 3"),
                                   HasSubstr("jobs/3 has 2 events, 2 to 3"),
                                   HasSubstr("jobs/4 has 2 events, 1 to 2"),
                                   HasSubstr("jobs/5 has 0 events")));
}

TEST_F(CheckTest, NamesJobsWhoseItemsHaveGaps) {
  data_.AddJob("jobs/3", 3);
  data_.Execute(
      "DELETE FROM job_items WHERE job = 'jobs/1' AND item_index = 1;"
      "DELETE FROM job_items WHERE job = 'jobs/3' AND item_index = 0");
  EXPECT_THAT(Wrong(), ElementsAre("jobs/1 has 2 items, 0 to 2",
                                   "jobs/3 has 2 items, 1 to 2"));
}

TEST_F(CheckTest, NamesRowsThatNameNothing) {
  // Only a file that somebody else opened can be like that.
  data_.Close();
  SQLite::Database(data_.File("dissonance.db"), SQLite::OPEN_READWRITE)
      .exec("INSERT INTO job_artifacts VALUES ('jobs/1', 'artifacts/none')");
  EXPECT_THAT(Wrong(), ElementsAre(AllOf(HasSubstr("job_artifacts"),
                                         HasSubstr("does not exist"))));
}

TEST_F(CheckTest, SaysWhatIsWrongWithADamagedDatabaseAndTouchesNothing) {
  data_.Close();
  const std::string orphan =
      data_.File("artifacts/ab/ab" + std::string(62, 'c'));
  DataDir::Write(orphan, "no record");
  {
    std::fstream file(data_.File("dissonance.db"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3 * 4096);
    file << std::string(size_t{40} * 4096, '\x7f');
  }
  const CheckReport report = Check(/*quick=*/false, /*repair=*/true);
  ASSERT_FALSE(report.findings.empty());
  EXPECT_THAT(report.findings.front().what, HasSubstr("malformed"));
  EXPECT_THAT(report.findings.front().advice, HasSubstr("restore"));
  EXPECT_FALSE(report.clean());
  EXPECT_TRUE(fs::exists(orphan));
}

// Takes an index away while a row is added, and puts it back without the row.
void LeaveARowOutOfAnIndex(const std::string& path) {
  const auto open = [&path] {
    SQLite::Database database(path, SQLite::OPEN_READWRITE);
    database.exec("PRAGMA writable_schema = ON");
    return database;
  };
  const std::string where = " FROM sqlite_schema WHERE name = 'usage_by_hour'";
  const int root = open().execAndGet("SELECT rootpage" + where).getInt();
  const std::string sql = open().execAndGet("SELECT sql" + where).getString();
  open().exec("DELETE" + where);
  open().exec("INSERT INTO usage VALUES ('ada', 1, 2.0, 3)");
  open().exec(
      absl::StrCat("INSERT INTO sqlite_schema VALUES ('index', "
                   "'usage_by_hour', 'usage', ",
                   root, ", '", sql, "')"));
}

TEST_F(CheckTest, RemovesNothingWhereAnIndexDisagreesWithItsTable) {
  data_.Close();
  const std::string orphan =
      data_.File("artifacts/ab/ab" + std::string(62, 'c'));
  DataDir::Write(orphan, "no record");
  LeaveARowOutOfAnIndex(data_.File("dissonance.db"));
  const CheckReport report = Check(/*quick=*/false, /*repair=*/true);
  ASSERT_FALSE(report.findings.empty());
  EXPECT_THAT(report.findings.front().what,
              AllOf(HasSubstr("damaged"), HasSubstr("usage_by_hour")));
  EXPECT_FALSE(report.clean());
  EXPECT_TRUE(fs::exists(orphan));
}

TEST_F(CheckTest, SaysThatADatabaseIsOlder) {
  const TempFolder old;
  ASSERT_TRUE(Database::Open(
                  {.data_dir = old.path(), .migrations = Migrations().first(1)})
                  .ok());
  const auto report = CheckDataDir({.data_dir = old.path()});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(report->findings, SizeIs(1));
  EXPECT_THAT(report->findings[0].what, HasSubstr("--upgrade-database"));
}

TEST_F(CheckTest, FindsWhatInterruptedWritesLeftAndRemovesItWhenTold) {
  const std::string orphan =
      data_.File("artifacts/ab/ab" + std::string(62, 'c'));
  const std::string temporary = data_.PathOf(artifact_) + ".tmp.AbCdEf";
  const std::string top = data_.File("digests.json.tmp.AbCdEf");
  const std::string stale = data_.File("uploads/ada-1.part");
  const std::string fresh = data_.File("uploads/ada-2.part");
  for (const std::string& path : {orphan, temporary, top, stale, fresh}) {
    DataDir::Write(path, "12345");
  }
  fs::last_write_time(
      stale, fs::file_time_type::clock::now() - std::chrono::hours(25));
  EXPECT_THAT(Wrong(),
              ElementsAre(HasSubstr("1 files without a record, 5 bytes"),
                          HasSubstr("3 temporary files, 15 bytes")));
  EXPECT_TRUE(fs::exists(orphan));
  const CheckReport repaired = Check(/*quick=*/false, /*repair=*/true);
  EXPECT_THAT(repaired.findings, SizeIs(2));
  EXPECT_TRUE(repaired.clean());
  for (const std::string& path : {orphan, temporary, top, stale}) {
    EXPECT_FALSE(fs::exists(path)) << path;
  }
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_THAT(Check().findings, IsEmpty());
}

TEST_F(CheckTest, LeavesStrangersAloneAndNamesThem) {
  const TempFolder elsewhere;
  DataDir::Write(elsewhere.File("theirs"), "x");
  const std::string link = data_.File("artifacts/ab/ab" + std::string(62, 'c'));
  const std::string wrong_shard =
      data_.File("artifacts/ab/cd" + std::string(62, 'c'));
  DataDir::Write(wrong_shard, "x");
  DataDir::Write(data_.File("artifacts/notes.txt"), "x");
  fs::create_symlink(elsewhere.File("theirs"), link);
  const CheckReport report = Check(/*quick=*/false, /*repair=*/true);
  EXPECT_THAT(report.findings, SizeIs(3));
  EXPECT_FALSE(report.clean());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_TRUE(fs::exists(wrong_shard));
  EXPECT_TRUE(fs::exists(data_.File("artifacts/notes.txt")));
}

TEST_F(CheckTest, RefusesAFolderInUseWithThePidAndAFolderWithoutRecords) {
  const auto in_use = CheckDataDir({.data_dir = data_.path()});
  EXPECT_EQ(in_use.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(in_use.status().message(),
              HasSubstr(absl::StrCat("process ", ::getpid())));
  const TempFolder empty;
  const auto missing = CheckDataDir({.data_dir = empty.path()});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(empty.Names(), IsEmpty());
}

}  // namespace
}  // namespace dissonance
