#include "src/lab/artifacts/artifact_uploads.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "src/lab/storage/user_store.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kBytes = "0123456789";

std::string NameOf(const std::string& bytes) {
  return absl::StrCat("artifacts/", Sha256Of(bytes));
}

v1::WriteArtifactRequest First(const std::string& bytes, int64_t offset = 0) {
  v1::WriteArtifactRequest first;
  first.set_name(NameOf(bytes));
  first.set_size_bytes(static_cast<int64_t>(bytes.size()));
  first.set_media_type("text/plain");
  first.set_offset_bytes(offset);
  return first;
}

// A store with its uploads, in a folder.
struct Server {
  explicit Server(const std::string& data_dir,
                  ArtifactUploads::Options options = {})
      : database(*Database::Open({.data_dir = data_dir})),
        store(*ArtifactStore::Create(data_dir, index, Clock::Real())),
        uploads(*ArtifactUploads::Create(data_dir, *store, index, options)) {}

  std::unique_ptr<Database> database;
  ArtifactIndex index{*database};
  std::unique_ptr<ArtifactStore> store;
  std::unique_ptr<ArtifactUploads> uploads;
};

class ArtifactUploadsTest : public ::testing::Test {
 protected:
  std::string PartOf(const std::string& bytes,
                     const std::string& user = "ada") const {
    return absl::StrCat(dir_.path(), "/uploads/", user, "-",
                        NameOf(bytes).substr(17), ".part");
  }
  // Regular files below a folder of the data directory.
  size_t FileCount(const std::string& folder) const {
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             dir_.path() + "/" + folder)) {
      if (entry.is_regular_file()) ++files;
    }
    return files;
  }
  std::unique_ptr<ArtifactUpload> Begin(Server& server,
                                        const std::string& bytes,
                                        int64_t offset = 0) {
    auto upload = server.uploads->Begin(First(bytes, offset), ada_);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return *std::move(upload);
  }
  static absl::StatusCode CodeOf(
      const absl::StatusOr<std::unique_ptr<ArtifactUpload>>& upload) {
    return upload.status().code();
  }

  const ArtifactOwner ada_ = {.user = "ada"};
  const Viewer viewer_ = {.user = "ada"};
  TempFolder dir_;
};

TEST_F(ArtifactUploadsTest, PiecesBecomeAnArtifact) {
  Server server(dir_.path());
  auto upload = Begin(server, kBytes);
  ASSERT_TRUE(upload->Append(0, "0123").ok());
  ASSERT_TRUE(upload->Append(4, "").ok());
  EXPECT_FALSE(server.store->Get(NameOf(kBytes), viewer_).ok());
  struct stat part {};
  ASSERT_EQ(::stat(PartOf(kBytes).c_str(), &part), 0);
  EXPECT_EQ(part.st_mode & 0777, 0600U);
  ASSERT_TRUE(upload->Append(4, "456789").ok());
  const auto artifact = upload->Finish();
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ(artifact->name(), NameOf(kBytes));
  EXPECT_EQ(artifact->media_type(), "text/plain");
  EXPECT_TRUE(artifact->owned());
  EXPECT_EQ(*server.store->Open(NameOf(kBytes), viewer_)->Read(0, 100), kBytes);
  EXPECT_EQ(FileCount("uploads"), 0U);
  EXPECT_EQ(FileCount("artifacts"), 1U);
}

TEST_F(ArtifactUploadsTest, StoresNoBytes) {
  Server server(dir_.path());
  ASSERT_TRUE(Begin(server, "")->Finish().ok());
  EXPECT_EQ(server.store->Get(NameOf(""), viewer_)->size_bytes(), 0);
}

TEST_F(ArtifactUploadsTest, GoesOnWhereABrokenCallEnded) {
  Server server(dir_.path());
  EXPECT_EQ(server.uploads->Find("ada", NameOf(kBytes))->received_bytes(), 0);
  ASSERT_TRUE(Begin(server, kBytes)->Append(0, "0123").ok());
  const auto found = server.uploads->Find("ada", NameOf(kBytes));
  EXPECT_EQ(found->received_bytes(), 4);
  EXPECT_FALSE(found->complete());
  EXPECT_EQ(server.uploads->Find("bob", NameOf(kBytes))->received_bytes(), 0);
  auto upload = Begin(server, kBytes, 4);
  ASSERT_TRUE(upload->Append(4, "456789").ok());
  ASSERT_TRUE(upload->Finish().ok());
  EXPECT_TRUE(server.uploads->Find("ada", NameOf(kBytes))->complete());
  EXPECT_FALSE(server.uploads->Find("bob", NameOf(kBytes))->complete());
}

TEST_F(ArtifactUploadsTest, BeginsAnewAtZero) {
  Server server(dir_.path());
  ASSERT_TRUE(Begin(server, kBytes)->Append(0, "wrong").ok());
  auto upload = Begin(server, kBytes);
  ASSERT_TRUE(upload->Append(0, kBytes).ok());
  EXPECT_TRUE(upload->Finish().ok());
}

TEST_F(ArtifactUploadsTest, NamesTheOffsetThatItExpects) {
  Server server(dir_.path());
  const auto nothing = server.uploads->Begin(First(kBytes, 3), ada_);
  EXPECT_EQ(CodeOf(nothing), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(nothing.status().message(), HasSubstr("expected offset 0"));
  EXPECT_EQ(FileCount("uploads"), 0U);
  auto upload = Begin(server, kBytes);
  ASSERT_TRUE(upload->Append(0, "0123").ok());
  for (const int64_t wrong : {0, 3, 5, -1}) {
    const absl::Status refused = upload->Append(wrong, "4");
    EXPECT_EQ(refused.code(), absl::StatusCode::kOutOfRange) << wrong;
    EXPECT_THAT(refused.message(), HasSubstr("expected offset 4"));
  }
  upload.reset();
  const auto wrong = server.uploads->Begin(First(kBytes, 5), ada_);
  EXPECT_EQ(CodeOf(wrong), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(wrong.status().message(), HasSubstr("expected offset 4"));
}

TEST_F(ArtifactUploadsTest, RefusesWhatReachesPastTheSize) {
  Server server(dir_.path());
  auto upload = Begin(server, kBytes);
  EXPECT_EQ(upload->Append(0, kBytes + "x").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      upload->Append(0, std::string(ArtifactUpload::kMaxPieceBytes + 1, 'x'))
          .code(),
      absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(upload->Append(0, kBytes.substr(0, 8)).ok());
  upload.reset();
  v1::WriteArtifactRequest shorter = First(kBytes, 8);
  shorter.set_size_bytes(7);
  EXPECT_EQ(CodeOf(server.uploads->Begin(shorter, ada_)),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArtifactUploadsTest, AnEndThatComesEarlyLeavesThePart) {
  Server server(dir_.path());
  auto upload = Begin(server, kBytes);
  ASSERT_TRUE(upload->Append(0, "0123").ok());
  const absl::Status early = upload->Finish().status();
  EXPECT_EQ(early.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(early.message(), HasSubstr("4 of 10 bytes"));
  EXPECT_EQ(server.uploads->Find("ada", NameOf(kBytes))->received_bytes(), 4);
}

TEST_F(ArtifactUploadsTest, DropsBytesThatAreNotTheOnesOfTheName) {
  Server server(dir_.path());
  for (const bool is_resumed : {false, true}) {
    auto upload = Begin(server, kBytes);
    ASSERT_TRUE(upload->Append(0, "x12").ok());
    if (is_resumed) {
      upload.reset();
      upload = Begin(server, kBytes, 3);
    }
    ASSERT_TRUE(upload->Append(3, "3456789").ok());
    const absl::Status differs = upload->Finish().status();
    EXPECT_EQ(differs.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(differs.message(), AllOf(HasSubstr(NameOf(kBytes)),
                                         HasSubstr(NameOf("x123456789"))));
    EXPECT_EQ(FileCount("uploads"), 0U);
    EXPECT_EQ(FileCount("artifacts"), 0U);
  }
}

TEST_F(ArtifactUploadsTest, APartThatChangedOnDiskIsNotTaken) {
  Server server(dir_.path());
  ASSERT_TRUE(Begin(server, kBytes)->Append(0, "0123").ok());
  std::ofstream(PartOf(kBytes), std::ios::trunc) << "9123";
  auto upload = Begin(server, kBytes, 4);
  ASSERT_TRUE(upload->Append(4, "456789").ok());
  EXPECT_EQ(upload->Finish().status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArtifactUploadsTest, OneCallAtATimeUploadsTheSame) {
  Server server(dir_.path());
  auto upload = Begin(server, kBytes);
  EXPECT_EQ(CodeOf(server.uploads->Begin(First(kBytes), ada_)),
            absl::StatusCode::kAborted);
  EXPECT_TRUE(server.uploads->Begin(First("other"), ada_).ok());
  auto others = server.uploads->Begin(First(kBytes), {.user = "bob"});
  ASSERT_TRUE(others.ok()) << others.status();
  ASSERT_TRUE(upload->Append(0, kBytes).ok());
  ASSERT_TRUE((*others)->Append(0, kBytes).ok());
  EXPECT_TRUE(upload->Finish().ok());
  EXPECT_TRUE((*others)->Finish().ok());
  upload.reset();
  EXPECT_TRUE(server.uploads->Begin(First(kBytes), ada_).ok());
}

TEST_F(ArtifactUploadsTest, AUserHasABoundOfUploadsUnderWay) {
  Server server(dir_.path());
  std::vector<std::unique_ptr<ArtifactUpload>> open;
  for (size_t i = 0; i < ArtifactUploads::kMaxPerUser; ++i) {
    open.push_back(Begin(server, absl::StrCat("file", i)));
  }
  EXPECT_EQ(CodeOf(server.uploads->Begin(First(kBytes), ada_)),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(server.uploads->Begin(First(kBytes), {.user = "bob"}).ok());
  open.pop_back();
  EXPECT_TRUE(server.uploads->Begin(First(kBytes), ada_).ok());
}

TEST_F(ArtifactUploadsTest, RefusesSizesBeyondTheBound) {
  Server server(dir_.path(), {.max_upload_bytes = 9});
  const auto large = server.uploads->Begin(First(kBytes), ada_);
  EXPECT_EQ(CodeOf(large), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(large.status().message(), HasSubstr("limit of 9 bytes"));
  v1::WriteArtifactRequest negative = First(kBytes);
  negative.set_size_bytes(-1);
  EXPECT_EQ(CodeOf(server.uploads->Begin(negative, ada_)),
            absl::StatusCode::kInvalidArgument);
  negative = First(kBytes.substr(1), -1);
  EXPECT_EQ(CodeOf(server.uploads->Begin(negative, ada_)),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FileCount("uploads"), 0U);
}

TEST_F(ArtifactUploadsTest, UnfinishedUploadsCountForTheQuota) {
  Server server(dir_.path());
  UserStore users(*server.database);
  ASSERT_TRUE(users.Create("ada", v1::Quota(), absl::Now()).ok());
  const ArtifactOwner owner = {.user = "ada", .limit_bytes = 20};
  ASSERT_TRUE(server.store->Put("12345", "", owner).ok());
  auto upload = server.uploads->Begin(First(kBytes), owner);
  ASSERT_TRUE(upload.ok()) << upload.status();
  ASSERT_TRUE((*upload)->Append(0, kBytes).ok());
  upload->reset();
  const auto refused = server.uploads->Begin(First("123456"), owner);
  EXPECT_EQ(CodeOf(refused), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr("has 15 bytes"), HasSubstr("asks for 6"),
                    HasSubstr("may have 20")));
  // Of nobody else, nor for going on with itself.
  EXPECT_TRUE(
      server.uploads->Begin(First("123456"), {.user = "a", .limit_bytes = 6})
          .ok());
  upload = server.uploads->Begin(First(kBytes, 10), owner);
  ASSERT_TRUE(upload.ok()) << upload.status();
  EXPECT_TRUE((*upload)->Finish().ok());
}

TEST_F(ArtifactUploadsTest, AQuotaUsedUpMeanwhileLeavesNothingBehind) {
  Server server(dir_.path());
  UserStore users(*server.database);
  ASSERT_TRUE(users.Create("ada", v1::Quota(), absl::Now()).ok());
  const ArtifactOwner owner = {.user = "ada", .limit_bytes = 12};
  auto upload = server.uploads->Begin(First(kBytes), owner);
  ASSERT_TRUE(upload.ok()) << upload.status();
  ASSERT_TRUE((*upload)->Append(0, kBytes).ok());
  ASSERT_TRUE(server.store->Put("12345", "", ada_).ok());
  EXPECT_EQ((*upload)->Finish().status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(server.store->Get(NameOf(kBytes), {.sees_all = true}).ok());
  EXPECT_EQ(FileCount("artifacts"), 1U);
}

TEST_F(ArtifactUploadsTest, RefusesHostileNames) {
  Server server(dir_.path());
  for (const std::string& user :
       {std::string(), std::string(".."), std::string("../ada"),
        std::string("a/b"), std::string("-ada"), std::string("Ada"),
        std::string("a\0b", 3), std::string(64, 'a'), std::string("\xC3\xA9"),
        std::string("a b")}) {
    EXPECT_EQ(CodeOf(server.uploads->Begin(First(kBytes), {.user = user})),
              absl::StatusCode::kInvalidArgument)
        << user;
    EXPECT_EQ(server.uploads->Find(user, NameOf(kBytes)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << user;
  }
  for (const std::string& name :
       {std::string(), std::string("artifacts/sha256:../../etc/passwd"),
        absl::StrCat("artifacts/sha256:", std::string(63, 'a'), "/"),
        absl::StrCat("artifacts/sha256:", std::string(64, 'A')),
        absl::StrCat("artifacts/sha256:", std::string(63, 'a'),
                     std::string(1, '\0'))}) {
    v1::WriteArtifactRequest first = First(kBytes);
    first.set_name(name);
    EXPECT_EQ(CodeOf(server.uploads->Begin(first, ada_)),
              absl::StatusCode::kInvalidArgument)
        << name;
    EXPECT_EQ(server.uploads->Find("ada", name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_EQ(FileCount("uploads"), 0U);
}

TEST_F(ArtifactUploadsTest, DoesNotFollowALinkOutOfItsFolder) {
  Server server(dir_.path());
  const std::string outside = dir_.path() + "/outside";
  std::ofstream(outside) << "0123";
  std::filesystem::create_symlink(outside, PartOf(kBytes));
  EXPECT_FALSE(server.uploads->Begin(First(kBytes), ada_).ok());
  EXPECT_FALSE(server.uploads->Begin(First(kBytes, 4), ada_).ok());
  EXPECT_EQ(std::filesystem::file_size(outside), 4U);
}

TEST_F(ArtifactUploadsTest, AFullDiskLeavesNothingBehind) {
  Server server(dir_.path());
  const std::string folder = dir_.path() + "/uploads";
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "NOT RUN: mounting a small tmpfs needs root";
  }
  const std::string large(1 << 20, 'x');
  auto upload = Begin(server, large);
  const absl::Status full = upload->Append(0, large);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_THAT(full.message(),
              AllOf(HasSubstr(folder), HasSubstr("1048576 bytes")));
  EXPECT_EQ(FileCount("uploads"), 0U);
  EXPECT_FALSE(server.store->Get(NameOf(large), viewer_).ok());
  // Its room is free again for others.
  upload.reset();
  const std::string small(32 << 10, 'y');
  upload = Begin(server, small);
  EXPECT_TRUE(upload->Append(0, small).ok());
  upload.reset();
  ::umount(folder.c_str());
}

TEST_F(ArtifactUploadsTest, ForgetsPartsThatNobodyGoesOnWith) {
  Server server(dir_.path());
  ASSERT_TRUE(Begin(server, kBytes)->Append(0, "0123").ok());
  const auto active = Begin(server, "active");
  std::ofstream(dir_.path() + "/uploads/notes.txt") << "not ours";
  const absl::Time now = absl::Now();
  EXPECT_EQ(server.uploads->RemoveOld(now + absl::Hours(23), false)->count, 0);
  const absl::Time late = now + absl::Hours(25);
  const auto would = server.uploads->RemoveOld(late, /*dry_run=*/true);
  ASSERT_TRUE(would.ok()) << would.status();
  EXPECT_EQ(would->count, 1);
  EXPECT_EQ(would->bytes, 4);
  EXPECT_EQ(FileCount("uploads"), 3U);
  EXPECT_EQ(server.uploads->RemoveOld(late, /*dry_run=*/false)->count, 1);
  EXPECT_EQ(server.uploads->Find("ada", NameOf(kBytes))->received_bytes(), 0);
  EXPECT_EQ(FileCount("uploads"), 2U);
}

}  // namespace
}  // namespace dissonance
