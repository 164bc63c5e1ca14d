#include "src/lab/artifacts/artifact_garbage.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "tests/lab/storage/artifact_rows_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr char kJob[] = "jobs/01";

// Each look is a second later, so that artifacts have an order in time.
class StepClock final : public Clock {
 public:
  absl::Time Now() const override { return start_ + absl::Seconds(++looks_); }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }
  void Set(absl::Time start) { start_ = start; }

 private:
  absl::Time start_ = absl::Now();
  mutable std::atomic<int> looks_ = 0;
};

class ArtifactGarbageTest : public ::testing::Test {
 protected:
  std::string Put(const std::string& bytes) {
    const auto artifact = store_->Put(bytes, "text/plain", {.user = "ada"});
    EXPECT_TRUE(artifact.ok()) << artifact.status();
    return artifact->name();
  }
  GarbageReport Collect(const GarbagePolicy& policy,
                        absl::Duration later = absl::Hours(48),
                        bool dry_run = false) {
    const auto report = garbage_.Collect(policy, absl::Now() + later, dry_run);
    EXPECT_TRUE(report.ok()) << report.status();
    return *report;
  }
  std::vector<std::string> Left() {
    std::vector<std::string> names;
    const auto page = store_->List({.sees_all = true}, 0, "");
    EXPECT_TRUE(page.ok()) << page.status();
    for (const v1::Artifact& artifact : page->artifacts) {
      names.push_back(artifact.name());
    }
    return names;
  }
  std::string PathOf(const std::string& name) const {
    const std::string hex = name.substr(17);
    return absl::StrCat(dir_.path(), "/artifacts/", hex.substr(0, 2), "/", hex);
  }
  size_t FileCount() const {
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(store_->directory())) {
      if (entry.is_regular_file()) ++files;
    }
    return files;
  }

  static constexpr GarbagePolicy kDay = {.max_age = absl::Hours(24)};
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  StepClock clock_;
  std::unique_ptr<ArtifactStore> store_ =
      *ArtifactStore::Create(dir_.path(), index_, clock_);
  std::unique_ptr<ArtifactUploads> uploads_ =
      *ArtifactUploads::Create(dir_.path(), *store_, index_);
  ArtifactGarbage garbage_{*store_, index_, *uploads_};
};

TEST_F(ArtifactGarbageTest, RemovesWhatIsOldAndThatNothingNames) {
  const std::string name = Put("bytes");
  EXPECT_EQ(Collect(kDay, absl::Hours(23)).removed.count, 0);
  const GarbageReport report = Collect(kDay, absl::Hours(25));
  EXPECT_EQ(report.removed.count, 1);
  EXPECT_EQ(report.removed.bytes, 5);
  EXPECT_EQ(report.kept.count, 0);
  EXPECT_FALSE(store_->Get(name, {.sees_all = true}).ok());
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(ArtifactGarbageTest, KeepsWhatAnybodyNamesOrPins) {
  AddJob(*database_, kJob, "bob");
  const std::string output = Put("output");
  const std::string input = Put("input");
  const std::string config = Put("config");
  const std::string weights = Put("weights");
  const std::string pinned = Put("pinned");
  Put("unnamed");
  NameArtifact(*database_, kJob, output, /*is_output=*/true);
  NameArtifact(*database_, kJob, input, /*is_output=*/false);
  AddAdapter(*database_, "bob", config, weights);
  ASSERT_TRUE(store_->Put("pinned", "", {.user = "bob"}).ok());
  ASSERT_TRUE(store_->Update(pinned, {.user = "bob"}, {.pinned = true}).ok());
  const GarbageReport report =
      Collect({.max_age = absl::Hours(24), .max_total_bytes = 1});
  EXPECT_EQ(report.removed.count, 1);
  EXPECT_EQ(report.kept.count, 5);
  EXPECT_THAT(Left(),
              UnorderedElementsAre(output, input, config, weights, pinned));
  for (const std::string& name : Left()) {
    EXPECT_TRUE(store_->Open(name).ok()) << name;
  }
  ASSERT_TRUE(
      JobStore(*database_)
          .Delete(kJob, [](const StoredJob&) { return absl::OkStatus(); })
          .ok());
  EXPECT_EQ(Collect(kDay).removed.count, 2);
}

TEST_F(ArtifactGarbageTest, RemovesTheOldestWhenAllTakeTooMuch) {
  const std::string named = Put(std::string(50, 'a'));
  AddJob(*database_, kJob, "ada");
  NameArtifact(*database_, kJob, named, /*is_output=*/true);
  Put(std::string(40, 'b'));
  Put(std::string(30, 'c'));
  const std::string newest = Put(std::string(20, 'd'));
  const GarbageReport report = Collect({.max_total_bytes = 90});
  EXPECT_EQ(report.removed.count, 2);
  EXPECT_EQ(report.removed.bytes, 70);
  EXPECT_EQ(report.kept.bytes, 70);
  EXPECT_THAT(Left(), ElementsAre(newest, named));
  EXPECT_EQ(Collect({.max_total_bytes = 70}).removed.count, 0);
}

TEST_F(ArtifactGarbageTest, ADryRunOnlySaysWhatWouldGo) {
  const std::string first = Put("first");
  const std::string second = Put("second!");
  const GarbagePolicy policy = {.max_total_bytes = 7};
  const GarbageReport report =
      Collect(policy, absl::Hours(48), /*dry_run=*/true);
  EXPECT_EQ(report.removed.count, 1);
  EXPECT_EQ(report.removed.bytes, 5);
  EXPECT_EQ(report.kept.count, 1);
  EXPECT_EQ(report.kept.bytes, 7);
  EXPECT_THAT(Left(), ElementsAre(second, first));
  EXPECT_EQ(FileCount(), 2U);
  EXPECT_EQ(Collect(policy).removed.bytes, report.removed.bytes);
}

TEST_F(ArtifactGarbageTest, LeavesWhatWasJustStored) {
  const GarbagePolicy policy = {.max_age = absl::ZeroDuration(),
                                .max_total_bytes = 1};
  Put("bytes");
  EXPECT_EQ(Collect(policy, absl::Minutes(59)).removed.count, 0);
  EXPECT_EQ(Collect(policy, absl::Minutes(61)).removed.count, 1);
}

TEST_F(ArtifactGarbageTest, LeavesOldBytesThatWereStoredAgain) {
  const GarbagePolicy policy = {.max_age = absl::Hours(24),
                                .max_total_bytes = 1};
  clock_.Set(absl::Now() - absl::Hours(100));
  const std::string name = Put("bytes");
  const auto make_old = [&] {
    std::filesystem::last_write_time(
        PathOf(name),
        std::filesystem::file_time_type::clock::now() - std::chrono::hours(99));
  };
  make_old();
  EXPECT_EQ(
      Collect(policy, absl::ZeroDuration(), /*dry_run=*/true).removed.count, 1);
  Put("bytes");
  EXPECT_EQ(Collect(policy, absl::Minutes(59)).removed.count, 0);
  make_old();
  ASSERT_TRUE(store_->Keep(name).ok());
  EXPECT_EQ(Collect(policy, absl::Minutes(59)).removed.count, 0);
  EXPECT_EQ(Collect(policy, absl::Minutes(61)).removed.count, 1);
  EXPECT_EQ(store_->Keep(name).code(), absl::StatusCode::kNotFound);
}

TEST_F(ArtifactGarbageTest, RemovesWhatACrashLeft) {
  const std::string kept = Put("bytes");
  const std::string orphan =
      PathOf(absl::StrCat("artifacts/", Sha256Of("orphan")));
  std::filesystem::create_directories(
      std::filesystem::path(orphan).parent_path());
  std::ofstream(orphan) << "orphan";
  std::ofstream(PathOf(kept) + ".tmp.abc123") << "half";
  v1::WriteArtifactRequest first;
  first.set_name(absl::StrCat("artifacts/", Sha256Of("upload")));
  first.set_size_bytes(6);
  ASSERT_TRUE((*uploads_->Begin(first, {.user = "ada"}))->Append(0, "up").ok());
  EXPECT_EQ(Collect({}, absl::Minutes(59)).leftovers.count, 0);
  const GarbageReport dry = Collect({}, absl::Hours(48), /*dry_run=*/true);
  EXPECT_EQ(dry.leftovers.count, 3);
  EXPECT_EQ(FileCount(), 3U);
  const GarbageReport report = Collect({});
  EXPECT_EQ(report.leftovers.count, 3);
  EXPECT_EQ(report.leftovers.bytes, 12);
  EXPECT_EQ(report.removed.count, 0);
  EXPECT_EQ(FileCount(), 1U);
  EXPECT_TRUE(store_->Open(kept).ok());
}

TEST_F(ArtifactGarbageTest, WorksThroughManyInSteps) {
  // Rows alone: the files are gone, which is no reason to keep them.
  constexpr int kCount = 2 * ArtifactIndex::kBatch + 1;
  const absl::Status added = database_->Write([&](Connection& connection) {
    Query(connection,
          "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL"
          " SELECT i + 1 FROM n WHERE i < ?)"
          " INSERT INTO artifacts (name, size_bytes, media_type, create_time)"
          " SELECT printf('artifacts/sha256:%064x', i), 1, '', 0 FROM n",
          kCount)
        .Run();
    return absl::OkStatus();
  });
  ASSERT_TRUE(added.ok()) << added;
  const GarbageReport report = Collect(kDay);
  EXPECT_EQ(report.removed.count, kCount);
  EXPECT_EQ(report.kept.count, 0);
}

TEST_F(ArtifactGarbageTest, NeverTakesAFileFromWhoStoresItsBytesAgain) {
  // All that is not named goes at once, also what was stored just now.
  const GarbagePolicy everything = {.max_age = absl::ZeroDuration(),
                                    .min_age = absl::ZeroDuration()};
  std::atomic<bool> stop = false;
  std::thread collector([&] {
    while (!stop) {
      EXPECT_TRUE(
          garbage_.Collect(everything, absl::Now() + absl::Hours(48), false)
              .ok());
    }
  });
  for (int i = 0; i < 200; ++i) {
    const std::string bytes = absl::StrCat("bytes", i % 2);
    const std::string name = Put(bytes);
    // Either it has a row and its file, or neither.
    const auto reader = store_->Open(name);
    EXPECT_TRUE(reader.ok() || absl::IsNotFound(reader.status()))
        << reader.status();
  }
  stop = true;
  collector.join();
  const std::vector<std::string> left = Left();
  EXPECT_EQ(FileCount(), left.size());
  for (const std::string& name : left) EXPECT_TRUE(store_->Open(name).ok());
}

}  // namespace
}  // namespace dissonance
