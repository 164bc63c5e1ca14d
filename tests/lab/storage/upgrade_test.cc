// A database of the first release, with rows, under this one.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/database_file.h"
#include "src/lab/storage/direction_store.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two jobs of ada's and bob's; one artifact of ada's job, one of both jobs, and
// one that nobody's job names.
constexpr char kRows[] = R"sql(
INSERT INTO users VALUES ('owner', 1), ('ada', 2), ('bob', 3);
INSERT INTO tokens VALUES ('sha256:aa', 'ada', 2, 5, NULL, NULL);
INSERT INTO jobs VALUES
  ('jobs/1', 'ada', 'request-1', 5, 2, '', 1, 0, 2, 2, 'questions', 1.5, 10, 11,
   12, 1, x'01', x'02'),
  ('jobs/2', 'bob', NULL, 1, 2, '', 0, 0, 0, 2, 'questions', 0, 20, NULL, NULL,
   0, x'03', x'04');
INSERT INTO job_inputs VALUES ('jobs/1', x'05', 'drain_seconds = 1');
INSERT INTO job_items VALUES ('jobs/1', 0, x'06'), ('jobs/1', 1, x'07');
INSERT INTO job_events VALUES ('jobs/1', 1, x'08');
INSERT INTO artifacts VALUES (1, 'artifacts/sha256:11', 100, 'a/b', 30),
  (2, 'artifacts/sha256:22', 20, 'a/b', 31),
  (3, 'artifacts/sha256:33', 3, 'a/b', 32);
INSERT INTO job_outputs VALUES ('jobs/1', 'a.json', 'artifacts/sha256:11', 100),
  ('jobs/1', 'manifest.json', 'artifacts/sha256:22', 20),
  ('jobs/2', 'b.json', 'artifacts/sha256:22', 20);
INSERT INTO models VALUES ('models/m', 1, 1, x'09');
INSERT INTO adapters VALUES ('models/m/adapters/a', 'models/m', 1, x'0a');
)sql";

class UpgradeTest : public ::testing::Test {
 protected:
  UpgradeTest() {
    const auto old = Database::Open(
        {.data_dir = folder_.path(), .migrations = Migrations().first(1)});
    EXPECT_TRUE(old.ok()) << old.status();
    const absl::Status filled = (*old)->Write([](Connection& connection) {
      connection.Execute(kRows);
      return absl::OkStatus();
    });
    EXPECT_TRUE(filled.ok()) << filled;
  }

  absl::StatusOr<std::unique_ptr<Database>> Open(bool allow_upgrade) {
    return Database::Open(
        {.data_dir = folder_.path(), .allow_upgrade = allow_upgrade});
  }

  std::string Contents() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("dissonance.db");
  const std::string copy_ = path_ + ".schema-1.backup";
};

// The rows of a query, columns joined by '|'.
std::vector<std::string> Rows(Database& database, const std::string& sql,
                              int columns) {
  std::vector<std::string> rows;
  const absl::Status status = database.Read([&](Connection& connection) {
    Query query(connection, sql);
    while (query.Next()) {
      std::string row = query.Text(0);
      for (int i = 1; i < columns; ++i)
        absl::StrAppend(&row, "|", query.Text(i));
      rows.push_back(row);
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return rows;
}

TEST_F(UpgradeTest, KeepsEveryRow) {
  const auto database = Open(/*allow_upgrade=*/true);
  ASSERT_TRUE(database.ok()) << database.status();
  Database& db = **database;
  EXPECT_THAT(
      Rows(db, "SELECT name, owner, state, done_count, replay_of FROM jobs", 5),
      ElementsAre("jobs/1|ada|5|2|", "jobs/2|bob|1|0|"));
  EXPECT_THAT(Rows(db, "SELECT job, item_index, hex(item) FROM job_items", 3),
              ElementsAre("jobs/1|0|06", "jobs/1|1|07"));
  EXPECT_THAT(Rows(db, "SELECT job, number, hex(event) FROM job_events", 3),
              ElementsAre("jobs/1|1|08"));
  EXPECT_THAT(Rows(db, "SELECT hex(spec), config_toml FROM job_inputs", 2),
              ElementsAre("05|drain_seconds = 1"));
  EXPECT_THAT(Rows(db, "SELECT file_name, names_run FROM job_outputs", 2),
              ElementsAre("a.json|0", "manifest.json|1", "b.json|0"));
  EXPECT_THAT(Rows(db, "SELECT user, scope, note FROM tokens", 3),
              ElementsAre("ada|2|"));
  EXPECT_THAT(Rows(db, "SELECT name, hex(adapter) FROM adapters", 2),
              ElementsAre("models/m/adapters/a|0A"));
}

TEST_F(UpgradeTest, AJobOfTheOldReleaseMayBePaused) {
  const auto database = Open(/*allow_upgrade=*/true);
  ASSERT_TRUE(database.ok()) << database.status();
  const auto set_state = [&](int state) {
    return (*database)->Write([state](Connection& connection) {
      Query(connection, "UPDATE jobs SET state = ? WHERE name = 'jobs/2'",
            int32_t{state})
          .Run();
      return absl::OkStatus();
    });
  };
  EXPECT_TRUE(set_state(9).ok());
  EXPECT_FALSE(set_state(10).ok());
  EXPECT_THAT(Rows(**database, "SELECT name, state FROM jobs", 2),
              ElementsAre("jobs/1|5", "jobs/2|9"));
}

TEST_F(UpgradeTest, AnArtifactOfTheOldReleaseMayBeADirections) {
  const auto database = Open(/*allow_upgrade=*/true);
  ASSERT_TRUE(database.ok()) << database.status();
  v1::Direction direction;
  direction.set_name("directions/truth");
  direction.set_owner("users/ada");
  direction.set_artifact("artifacts/sha256:33");
  const absl::Status created = DirectionStore(**database).Create(direction);
  ASSERT_TRUE(created.ok()) << created;
  EXPECT_THAT(Rows(**database, "SELECT name, owner, shared FROM directions", 3),
              ElementsAre("directions/truth|ada|0"));
}

TEST_F(UpgradeTest, SharesEveryArtifactAndSaysWhoseItIs) {
  const auto database = Open(/*allow_upgrade=*/true);
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_THAT(Rows(**database,
                   "SELECT user, sequence, visibility FROM artifact_owners"
                   " ORDER BY sequence, user",
                   3),
              ElementsAre("ada|1|2", "ada|2|2", "bob|2|2", "owner|3|2"));
  EXPECT_THAT(Rows(**database, "SELECT name, artifact_bytes FROM users", 2),
              ElementsAre("ada|120", "bob|20", "owner|3"));
}

TEST_F(UpgradeTest, LeavesACopyOfTheOldDatabase) {
  ASSERT_TRUE(Open(/*allow_upgrade=*/true).ok());
  const auto copy = DatabaseFile::Open(copy_);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*(*copy)->SchemaVersion(), 1);
  EXPECT_TRUE((*copy)->CheckSchema(/*allow_older=*/true).ok());
  EXPECT_THAT(*(*copy)->Artifacts(), ::testing::SizeIs(3));
  // Put in its place, it is what the old release had.
  const TempFolder back;
  std::ofstream(back.File("dissonance.db"), std::ios::binary)
      << std::ifstream(copy_, std::ios::binary).rdbuf();
  const auto old = Database::Open(
      {.data_dir = back.path(), .migrations = Migrations().first(1)});
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_THAT(Rows(**old, "SELECT name, hex(provenance) FROM jobs", 2),
              ElementsAre("jobs/1|02", "jobs/2|04"));
}

TEST_F(UpgradeTest, ASecondStartMakesNoFurtherCopy) {
  ASSERT_TRUE(Open(/*allow_upgrade=*/true).ok());
  std::filesystem::remove(copy_);
  ASSERT_TRUE(Open(/*allow_upgrade=*/true).ok());
  EXPECT_FALSE(std::filesystem::exists(copy_));
}

TEST_F(UpgradeTest, ACopyOfAnEarlierTryIsReplaced) {
  std::ofstream(copy_) << "older";
  ASSERT_TRUE(Open(/*allow_upgrade=*/true).ok());
  const auto copy = DatabaseFile::Open(copy_);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*(*copy)->SchemaVersion(), 1);
}

TEST_F(UpgradeTest, WithoutTheCopyNothingIsUpgraded) {
  // What can be neither removed nor written over.
  std::filesystem::create_directories(copy_ + ".tmp.upgrade/full");
  const std::string before = Contents();
  const auto refused = Open(/*allow_upgrade=*/true);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(refused.status().message(), HasSubstr(copy_));
  EXPECT_EQ(Contents(), before);
}

TEST_F(UpgradeTest, WithoutTheFlagItStaysByteForByte) {
  const std::string before = Contents();
  const auto refused = Open(/*allow_upgrade=*/false);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("--upgrade-database"));
  EXPECT_EQ(Contents(), before);
  EXPECT_FALSE(std::filesystem::exists(copy_));
}

}  // namespace
}  // namespace dissonance
