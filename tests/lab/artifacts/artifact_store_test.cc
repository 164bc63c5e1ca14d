#include "src/lab/artifacts/artifact_store.h"

#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/user_store.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ArtifactStoreTest : public ::testing::Test {
 protected:
  std::string PathOf(const v1::Artifact& artifact) const {
    const std::string hex = artifact.name().substr(17);
    return absl::StrCat(dir_.path(), "/artifacts/", hex.substr(0, 2), "/", hex);
  }
  v1::Artifact Put(const std::string& bytes) {
    auto artifact = store_->Put(bytes, "text/plain", {.user = "ada"});
    EXPECT_TRUE(artifact.ok()) << artifact.status();
    return *std::move(artifact);
  }

  // Regular files in the store.
  size_t FileCount() const {
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             dir_.path() + "/artifacts")) {
      if (entry.is_regular_file()) ++files;
    }
    return files;
  }

  const Viewer ada_ = {.user = "ada"};
  const Viewer bob_ = {.user = "bob"};
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  std::unique_ptr<ArtifactStore> store_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
};

TEST_F(ArtifactStoreTest, NamesBytesByTheirDigest) {
  const std::string bytes("a\0b\n", 4);
  const v1::Artifact artifact = Put(bytes);
  EXPECT_EQ(artifact.name(), absl::StrCat("artifacts/", Sha256Of(bytes)));
  EXPECT_EQ(artifact.size_bytes(), 4);
  EXPECT_EQ(artifact.media_type(), "text/plain");
  EXPECT_TRUE(std::filesystem::exists(PathOf(artifact)));
  const auto got = store_->Get(artifact.name(), ada_);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->DebugString(), artifact.DebugString());
}

TEST_F(ArtifactStoreTest, TheSameBytesAreOneArtifact) {
  const v1::Artifact first = Put("same");
  const auto second = store_->Put("same", "application/json", {.user = "ada"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->DebugString(), first.DebugString());
  EXPECT_EQ(store_->List(ada_, 0, "")->artifacts.size(), 1U);
}

TEST_F(ArtifactStoreTest, ReadsRanges) {
  const auto reader = store_->Open(Put("0123456789").name());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*reader->Read(0, 10), "0123456789");
  EXPECT_EQ(*reader->Read(3, 4), "3456");
  EXPECT_EQ(*reader->Read(8, 100), "89");
  EXPECT_EQ(*reader->Read(10, 1), "");
  EXPECT_EQ(*reader->Read(INT64_MAX, INT64_MAX), "");
  EXPECT_EQ(reader->Read(-1, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(reader->Read(0, -1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArtifactStoreTest, StoresNoBytesAndManyPieces) {
  EXPECT_EQ(*store_->Open(Put("").name())->Read(0, 10), "");
  std::string large;
  for (int i = 0; large.size() < (3 << 20); ++i) absl::StrAppend(&large, i);
  const auto reader = store_->Open(Put(large).name());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*reader->Read(0, static_cast<int64_t>(large.size())), large);
}

TEST_F(ArtifactStoreTest, ReportsBytesThatChangedOnDisk) {
  const v1::Artifact artifact = Put("precious");
  for (const std::string damage : {"Precious", "short", ""}) {
    std::ofstream(PathOf(artifact), std::ios::trunc) << damage;
    const auto reader = store_->Open(artifact.name());
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss) << damage;
    EXPECT_THAT(reader.status().message(), HasSubstr(PathOf(artifact)));
  }
  std::filesystem::remove(PathOf(artifact));
  EXPECT_EQ(store_->Open(artifact.name()).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(store_->Get(artifact.name(), ada_).ok());
}

TEST_F(ArtifactStoreTest, PuttingTheBytesAgainRepairsThem) {
  const v1::Artifact artifact = Put("precious");
  std::ofstream(PathOf(artifact), std::ios::trunc) << "damaged!";
  EXPECT_EQ(Put("precious").DebugString(), artifact.DebugString());
  EXPECT_EQ(*store_->Open(artifact.name())->Read(0, 100), "precious");
}

TEST_F(ArtifactStoreTest, AFileWithoutARowIsHarmless) {
  const std::string name = absl::StrCat("artifacts/", Sha256Of("orphan"));
  v1::Artifact unknown;
  unknown.set_name(name);
  std::filesystem::create_directories(
      std::filesystem::path(PathOf(unknown)).parent_path());
  std::ofstream(PathOf(unknown)) << "half of an orp";
  EXPECT_EQ(store_->Get(name, ada_).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->Open(name).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Put("orphan").name(), name);
  EXPECT_EQ(*store_->Open(name)->Read(0, 100), "orphan");
}

TEST_F(ArtifactStoreTest, RefusesHostileNames) {
  const std::string hex(64, 'a');
  for (const std::string& name :
       {std::string(), std::string("artifacts/"), hex,
        absl::StrCat("artifacts/sha256:", hex, "a"),
        absl::StrCat("artifacts/sha256:", hex.substr(1)),
        absl::StrCat("artifacts/sha256:", std::string(64, 'A')),
        absl::StrCat("artifacts/sha256:", hex.substr(1), std::string(1, '\0')),
        absl::StrCat("artifacts/sha256:../", hex.substr(3)),
        absl::StrCat("artifacts/sha256:", hex.substr(2), "\xC3\xA9"),
        std::string("artifacts/sha256:../../../../etc/passwd")}) {
    EXPECT_EQ(store_->Open(name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
    EXPECT_EQ(store_->Get(name, ada_).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST_F(ArtifactStoreTest, DoesNotFollowALinkOutOfTheStore) {
  const v1::Artifact artifact = Put("precious");
  const std::string outside = dir_.path() + "/outside";
  std::ofstream(outside) << "precious";
  std::filesystem::remove(PathOf(artifact));
  std::filesystem::create_symlink(outside, PathOf(artifact));
  EXPECT_FALSE(store_->Open(artifact.name()).ok());
}

TEST_F(ArtifactStoreTest, PagesNewestFirst) {
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) names.push_back(Put(absl::StrCat(i)).name());
  std::vector<std::string> listed;
  std::string token;
  do {
    const auto page = store_->List(ada_, 2, token);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->artifacts.size(), 2U);
    for (const auto& artifact : page->artifacts) {
      listed.insert(listed.begin(), artifact.name());
    }
    token = page->next_page_token;
    // What comes while one pages does not repeat or hide anything.
    Put(absl::StrCat("late", listed.size()));
  } while (!token.empty());
  EXPECT_EQ(listed, names);
  EXPECT_EQ(store_->List(ada_, -1, "").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->List(ada_, 1, "x").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArtifactStoreTest, HidesWhatIsNotTheViewers) {
  const std::string name = Put("secret").name();
  const std::string copy = dir_.path() + "/copy";
  const auto not_found = absl::StatusCode::kNotFound;
  EXPECT_EQ(store_->Get(name, bob_).status().code(), not_found);
  EXPECT_EQ(store_->Open(name, bob_).status().code(), not_found);
  EXPECT_EQ(store_->Export(name, bob_, copy).code(), not_found);
  EXPECT_EQ(store_->Delete(name, bob_).code(), not_found);
  EXPECT_EQ(store_->List(bob_, 0, "")->artifacts.size(), 0U);
  EXPECT_FALSE(store_->Has(name, bob_));
  EXPECT_TRUE(store_->Has(name, ada_));
  EXPECT_TRUE(store_->Open(name).ok());
  // Who has the bytes too, has the artifact too.
  ASSERT_TRUE(store_->Put("secret", "text/plain", {.user = "bob"}).ok());
  EXPECT_TRUE(store_->Open(name, bob_).ok());
}

TEST_F(ArtifactStoreTest, RefusesAVisibilityThatThereIsNot) {
  const std::string name = Put("bytes").name();
  EXPECT_EQ(
      store_->Update(name, ada_, {.visibility = static_cast<v1::Visibility>(7)})
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->Update("artifacts/x", ada_, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArtifactStoreTest, BytesBeyondTheLimitLeaveNothingBehind) {
  ASSERT_TRUE(
      UserStore(*database_).Create("ada", v1::Quota(), absl::Now()).ok());
  const ArtifactOwner owner = {.user = "ada", .limit_bytes = 10};
  ASSERT_TRUE(store_->Put("12345678", "text/plain", owner).ok());
  EXPECT_EQ(store_->Put("123", "text/plain", owner).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(ArtifactStoreTest, AFileThatGetsNoRowIsRemoved) {
  const absl::Status refuse = database_->Write([](Connection& connection) {
    connection.Execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON artifacts"
        " BEGIN SELECT RAISE(ABORT, 'no'); END");
    return absl::OkStatus();
  });
  ASSERT_TRUE(refuse.ok()) << refuse;
  EXPECT_FALSE(store_->Put("bytes", "text/plain", {.user = "ada"}).ok());
  EXPECT_EQ(FileCount(), 0U);
  const std::string part = dir_.path() + "/part";
  std::ofstream(part) << "bytes";
  v1::Artifact artifact;
  artifact.set_name(absl::StrCat("artifacts/", Sha256Of("bytes")));
  artifact.set_size_bytes(5);
  EXPECT_FALSE(store_->Adopt(part, artifact, {.user = "ada"}).ok());
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(ArtifactStoreTest, DeletesTheBytesWithTheirLastOwner) {
  const v1::Artifact artifact = Put("shared");
  ASSERT_TRUE(store_->Put("shared", "", {.user = "bob"}).ok());
  ASSERT_TRUE(store_->Delete(artifact.name(), ada_).ok());
  EXPECT_FALSE(store_->Open(artifact.name(), ada_).ok());
  const auto reader = store_->Open(artifact.name(), bob_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE(store_->Delete(artifact.name(), bob_).ok());
  EXPECT_EQ(FileCount(), 0U);
  // Who reads it goes on.
  EXPECT_EQ(*reader->Read(0, 10), "shared");
  EXPECT_EQ(store_->Open(artifact.name()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ArtifactStoreTest, ExportsTheSameFile) {
  const v1::Artifact artifact = Put("weights");
  const std::string copy = dir_.path() + "/copy";
  ASSERT_TRUE(store_->Export(artifact.name(), ada_, copy).ok());
  EXPECT_EQ(std::filesystem::hard_link_count(copy), 2U);
  std::ofstream(PathOf(artifact), std::ios::trunc) << "damaged";
  EXPECT_EQ(store_->Export(artifact.name(), ada_, copy + "2").code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ArtifactStoreTest, AFullDiskLeavesNothingBehind) {
  const std::string folder = dir_.path() + "/artifacts";
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  const auto full =
      store_->Put(std::string(1 << 20, 'x'), "text/plain", {.user = "ada"});
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted)
      << full.status();
  EXPECT_THAT(full.status().message(),
              AllOf(HasSubstr(folder), HasSubstr("1048576 bytes")));
  EXPECT_EQ(FileCount(), 0U);
  EXPECT_EQ(store_->List(ada_, 0, "")->artifacts.size(), 0U);
  ::umount(folder.c_str());
}

TEST_F(ArtifactStoreTest, WorksAcrossFileSystems) {
  const std::string folder = dir_.path() + "/artifacts";
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  const std::string part = dir_.path() + "/part";
  std::ofstream(part) << "bytes";
  v1::Artifact artifact;
  artifact.set_name(absl::StrCat("artifacts/", Sha256Of("bytes")));
  artifact.set_size_bytes(5);
  const auto adopted = store_->Adopt(part, artifact, {.user = "ada"});
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  EXPECT_FALSE(std::filesystem::exists(part));
  ASSERT_TRUE(store_->Export(artifact.name(), ada_, part).ok());
  EXPECT_EQ(std::filesystem::hard_link_count(part), 1U);
  EXPECT_EQ(*ReadFile(part, 10), "bytes");
  ::umount(folder.c_str());
}

}  // namespace
}  // namespace dissonance
