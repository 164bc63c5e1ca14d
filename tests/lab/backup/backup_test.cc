#include "src/lab/backup/backup.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/lab/backup/data_dir.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class BackupTest : public ::testing::Test {
 protected:
  BackupTest() {
    EXPECT_TRUE(WriteOwnerToken(data_.database(), Clock::Real()).ok());
    first_ = data_.AddArtifact("the first");
    second_ = data_.AddArtifact(std::string(3 << 20, 'x'));
    data_.AddJob("jobs/1", 3);
  }

  absl::StatusOr<BackupSummary> Backup(const std::string& path) {
    return WriteBackup(data_.database(),
                       {.path = path,
                        .code_version = "1.2.3",
                        .time = absl::FromUnixSeconds(1'000'000'000)});
  }

  DataDir data_;
  const TempFolder elsewhere_;
  const std::string path_ = elsewhere_.File("monday");
  std::string first_;
  std::string second_;
};

// Paths of all files below a folder, relative to it.
std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) {
      files.push_back(fs::relative(entry.path(), folder));
    }
  }
  return files;
}

TEST_F(BackupTest, HoldsTheRecordsEveryArtifactAndWhatItIs) {
  const auto summary = Backup(path_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->artifact_count, 2);
  EXPECT_EQ(summary->artifact_bytes, 9 + (3 << 20));
  EXPECT_THAT(elsewhere_.Names(), UnorderedElementsAre("monday"));
  const std::string first = *ArtifactHex(first_);
  EXPECT_EQ(*ReadFile(ArtifactPath(path_, first), 100), "the first");
  EXPECT_EQ(*Sha256OfFile(path_ + "/dissonance.db"), summary->database_digest);
  const auto json =
      nlohmann::json::parse(*ReadFile(path_ + "/backup.json", 10'000));
  EXPECT_EQ(json["format"], 1);
  EXPECT_EQ(json["time"], "2001-09-09T01:46:40+00:00");
  EXPECT_EQ(json["code_version"], "1.2.3");
  EXPECT_EQ(json["schema_version"], Migrations().size());
  const auto read = ReadBackupSummary(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->database_digest, summary->database_digest);
  EXPECT_EQ(read->time, summary->time);
}

TEST_F(BackupTest, HoldsNoSecretsAndIsTheOwnersOnly) {
  const std::string token = *ReadFile(data_.File("owner.token"), 1000);
  ASSERT_TRUE(Backup(path_).ok());
  EXPECT_EQ(FilesIn(path_).size(), 4U);
  for (const std::string& file : FilesIn(path_)) {
    EXPECT_THAT(*ReadFile(path_ + "/" + file, 10 << 20),
                Not(HasSubstr(token.substr(0, token.size() - 1))))
        << file;
    EXPECT_EQ(fs::status(path_ + "/" + file).permissions() &
                  (fs::perms::group_all | fs::perms::others_all),
              fs::perms::none)
        << file;
  }
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_all);
}

TEST_F(BackupTest, HoldsOnlyArtifactsThatTheDatabaseNames) {
  DataDir::Write(data_.File("artifacts/ab/" + std::string(64, 'a')), "orphan");
  ASSERT_TRUE(Backup(path_).ok());
  EXPECT_EQ(FilesIn(path_).size(), 4U);
}

TEST_F(BackupTest, CopiesWhileItIsToldThatNothingIsRemoved) {
  bool held = false;
  BackupOptions options = {.path = path_, .code_version = ""};
  options.hold = [&](absl::FunctionRef<absl::Status()> copy) {
    // Nothing was copied before, everything is afterwards.
    EXPECT_THAT(FilesIn(path_ + ".part"), IsEmpty());
    held = true;
    const absl::Status status = copy();
    EXPECT_EQ(FilesIn(path_ + ".part").size(), 4U);
    return status;
  };
  ASSERT_TRUE(WriteBackup(data_.database(), options).ok());
  EXPECT_TRUE(held);
}

TEST_F(BackupTest, AnArtifactThatIsGoneOrDiffersIsNamed) {
  fs::remove(data_.PathOf(first_));
  const auto gone = Backup(path_);
  EXPECT_EQ(gone.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(gone.status().message(),
              AllOf(HasSubstr(first_), HasSubstr("is gone")));
  DataDir::Write(data_.PathOf(first_), "the worst");
  const auto differs = Backup(path_);
  EXPECT_EQ(differs.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(differs.status().message(), HasSubstr(first_));
  fs::remove(data_.PathOf(first_));
  DataDir::Write(elsewhere_.File("linked"), "the first");
  fs::create_symlink(elsewhere_.File("linked"), data_.PathOf(first_));
  EXPECT_FALSE(Backup(path_).ok());
  // Nothing is left of them.
  EXPECT_THAT(elsewhere_.Names(), UnorderedElementsAre("linked"));
}

TEST_F(BackupTest, RefusesPathsThatAreTakenOrNoPlaceForABackup) {
  const auto code = [this](const std::string& path) {
    return Backup(path).status().code();
  };
  EXPECT_EQ(code("monday"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("/"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string("/a\0b", 4)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(data_.File("backup")), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(elsewhere_.path() + "/../" +
                 fs::path(data_.path()).filename().string() + "/backup"),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(elsewhere_.File("missing/monday")),
            absl::StatusCode::kNotFound);
  DataDir::Write(elsewhere_.File("file"), "");
  EXPECT_EQ(code(elsewhere_.File("file")), absl::StatusCode::kAlreadyExists);
  fs::create_directory(elsewhere_.File("folder"));
  EXPECT_EQ(code(elsewhere_.File("folder/")), absl::StatusCode::kAlreadyExists);
  fs::create_symlink("nowhere", elsewhere_.File("link"));
  EXPECT_EQ(code(elsewhere_.File("link")), absl::StatusCode::kAlreadyExists);
  fs::create_directory(path_ + ".part");
  const auto left = Backup(path_);
  EXPECT_EQ(left.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(left.status().message(), HasSubstr(path_ + ".part"));
}

TEST_F(BackupTest, WhatIsNoBackupIsSaidSo) {
  const auto none = ReadBackupSummary(elsewhere_.path());
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(none.status().message(), HasSubstr("backup.json"));
  DataDir::Write(elsewhere_.File("backup.json"), "{\"format\": 2}");
  const auto newer = ReadBackupSummary(elsewhere_.path());
  EXPECT_EQ(newer.status().code(), absl::StatusCode::kFailedPrecondition);
  DataDir::Write(elsewhere_.File("backup.json"), "{\"format\": 1}");
  EXPECT_EQ(ReadBackupSummary(elsewhere_.path()).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dissonance
