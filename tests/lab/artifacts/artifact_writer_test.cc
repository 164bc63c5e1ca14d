#include "src/lab/artifacts/artifact_writer.h"

#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "src/lab/artifacts/artifact_garbage.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ArtifactWriterTest : public ::testing::Test {
 protected:
  size_t FileCount() const {
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(store_->directory())) {
      if (entry.is_regular_file()) ++files;
    }
    return files;
  }
  ArtifactWriter Open() {
    auto writer = ArtifactWriter::Create(*store_, "text/plain", ada_);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  const ArtifactOwner ada_ = {.user = "ada"};
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  std::unique_ptr<ArtifactStore> store_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
};

TEST_F(ArtifactWriterTest, PiecesBecomeOneArtifact) {
  ArtifactWriter writer = Open();
  ASSERT_TRUE(writer.Append("one ").ok());
  ASSERT_TRUE(writer.Append("").ok());
  ASSERT_TRUE(writer.Append("two").ok());
  const auto artifact = writer.Commit();
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ(artifact->name(), absl::StrCat("artifacts/", Sha256Of("one two")));
  EXPECT_EQ(artifact->size_bytes(), 7);
  EXPECT_EQ(artifact->media_type(), "text/plain");
  EXPECT_TRUE(store_->Has(artifact->name(), {.user = "ada"}));
  EXPECT_FALSE(store_->Has(artifact->name(), {.user = "bob"}));
  EXPECT_EQ(*store_->Open(artifact->name())->Read(0, 100), "one two");
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(ArtifactWriterTest, BytesThatAreThereStayOneArtifact) {
  const auto before = store_->Put("same", "text/plain", ada_);
  ArtifactWriter writer = Open();
  ASSERT_TRUE(writer.Append("same").ok());
  EXPECT_EQ(writer.Commit()->name(), before->name());
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(ArtifactWriterTest, WithoutCommitNothingStays) {
  {
    ArtifactWriter writer = Open();
    ASSERT_TRUE(writer.Append("half").ok());
    EXPECT_EQ(FileCount(), 1U);
    const ArtifactWriter moved = std::move(writer);
  }
  EXPECT_EQ(FileCount(), 0U);
  EXPECT_TRUE(store_->List({.sees_all = true}, 0, "")->artifacts.empty());
}

TEST_F(ArtifactWriterTest, WhatACrashLeavesIsGarbage) {
  auto uploads = ArtifactUploads::Create(dir_.path(), *store_, index_);
  ASSERT_TRUE(uploads.ok()) << uploads.status();
  ArtifactGarbage garbage(*store_, index_, **uploads);
  const ArtifactWriter left = Open();
  // In use for an hour at least, as far as anybody knows.
  ASSERT_TRUE(garbage.Collect({}, absl::Now(), /*dry_run=*/false).ok());
  EXPECT_EQ(FileCount(), 1U);
  const auto report =
      garbage.Collect({}, absl::Now() + absl::Hours(2), /*dry_run=*/false);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->leftovers.count, 1);
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(ArtifactWriterTest, AFullDiskIsSaidWithPathAndBytes) {
  if (::mount("tmpfs", store_->directory().c_str(), "tmpfs", 0, "size=64k") !=
      0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  {
    ArtifactWriter writer = Open();
    absl::Status status;
    int pieces = 0;
    while (status.ok() && ++pieces < 100) {
      status = writer.Append(std::string(10000, 'x'));
    }
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(store_->directory()),
                      HasSubstr("write 10000 bytes after 60000")));
  }
  EXPECT_EQ(FileCount(), 0U);
  ::umount(store_->directory().c_str());
}

}  // namespace
}  // namespace dissonance
