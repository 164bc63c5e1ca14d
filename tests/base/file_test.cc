#include "src/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kLimit = 1 << 20;

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

// Files of this process end at `bytes` while it lives, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_limit_);
    rlimit limit = old_limit_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int) = nullptr;
};

TEST(FileTest, ReadsWhatWasWritten) {
  TempFolder folder;
  const std::string contents("a\0b\n\xff", 5);
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), contents).ok());
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), contents);
  EXPECT_THAT(folder.Names(), ElementsAre("x"));
}

TEST(FileTest, WritesAndReadsAnEmptyFile) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "").ok());
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), "");
}

TEST(FileTest, ReplacesOldContentsAndSetsTheMode) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "old contents").ok());
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "new", 0600).ok());
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), "new");
  struct stat info {};
  ASSERT_EQ(::stat(folder.File("x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
}

TEST(FileTest, NamesWhatCannotBeRead) {
  TempFolder folder;
  const absl::Status missing = ReadFile(folder.File("none"), kLimit).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(missing), HasSubstr(folder.File("none")));
  const absl::Status is_folder = ReadFile(folder.path(), kLimit).status();
  EXPECT_EQ(is_folder.code(), absl::StatusCode::kInvalidArgument);
}

TEST(FileTest, RefusesANamedPipeInsteadOfWaiting) {
  TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.File("pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(folder.File("pipe"), kLimit).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FileTest, RefusesMoreThanTheLimit) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "12345").ok());
  EXPECT_TRUE(ReadFile(folder.File("x"), 5).ok());
  const absl::Status status = ReadFile(folder.File("x"), 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("limit of 4 bytes"));
}

TEST(FileTest, RefusesPathsWithNul) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "1").ok());
  const std::string path = folder.File(std::string("x\0.json", 7));
  const auto kRefused = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(ReadFile(path, kLimit).status().code(), kRefused);
  EXPECT_EQ(WriteFileAtomically(path, "2").code(), kRefused);
  EXPECT_EQ(MakeDirectories(path).code(), kRefused);
  EXPECT_EQ(SyncDirectory(path).code(), kRefused);
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), "1");
}

TEST(FileTest, FullDiskKeepsOldContentsAndLeavesNothingBehind) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "old").ok());
  const std::string large(100'000, 'x');
  absl::Status status;
  {
    FileSizeLimit limit(4096);
    status = WriteFileAtomically(folder.File("x"), large);
  }
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(MessageOf(status), HasSubstr(folder.File("x")));
  EXPECT_THAT(MessageOf(status), HasSubstr("100000 bytes"));
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), "old");
  EXPECT_THAT(folder.Names(), ElementsAre("x"));
}

TEST(FileTest, MissingFolderIsNamed) {
  TempFolder folder;
  const absl::Status status = WriteFileAtomically(folder.File("no/x"), "1");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr(folder.File("no/x")));
}

TEST(AtomicFileTest, AppearsWholeAtCommit) {
  TempFolder folder;
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(folder.File("x"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Append("one ").ok());
  ASSERT_TRUE(file->Append("two").ok());
  EXPECT_FALSE(ReadFile(folder.File("x"), kLimit).ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(ReadFile(folder.File("x"), kLimit).value(), "one two");
  EXPECT_THAT(folder.Names(), ElementsAre("x"));
}

TEST(AtomicFileTest, WithoutCommitNothingIsLeft) {
  TempFolder folder;
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(folder.File("x"));
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Append("one").ok());
  }
  EXPECT_THAT(folder.Names(), IsEmpty());
}

TEST(AtomicFileTest, MovedToFileCommitsAndReplacedOneIsDropped) {
  TempFolder folder;
  absl::StatusOr<AtomicFile> first = AtomicFile::Create(folder.File("first"));
  absl::StatusOr<AtomicFile> second = AtomicFile::Create(folder.File("second"));
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(second->Append("2").ok());
  *first = *std::move(second);
  ASSERT_TRUE(first->Commit().ok());
  EXPECT_THAT(folder.Names(), ElementsAre("second"));
}

TEST(FileTest, MakesParentsAndAcceptsWhatIsThere) {
  TempFolder folder;
  EXPECT_TRUE(MakeDirectories(folder.File("a/b/c")).ok());
  EXPECT_TRUE(MakeDirectories(folder.File("a/b/c")).ok());
  EXPECT_TRUE(SyncDirectory(folder.File("a/b/c")).ok());
}

TEST(FileTest, AFileIsNoFolder) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), "1").ok());
  EXPECT_FALSE(MakeDirectories(folder.File("x/y")).ok());
  EXPECT_FALSE(SyncDirectory(folder.File("x")).ok());
}

}  // namespace
}  // namespace dissonance
