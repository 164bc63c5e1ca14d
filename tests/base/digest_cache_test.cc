#include "src/base/digest_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

// Far enough ahead that no file seems to have just been written.
class LaterClock : public Clock {
 public:
  absl::Time Now() const override { return absl::Now() + ahead; }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }
  absl::Duration ahead = absl::Hours(1);
};

class DigestCacheTest : public testing::Test {
 protected:
  void Write(const std::string& contents) {
    ASSERT_TRUE(WriteFileAtomically(file_, contents).ok());
  }

  // What a cache read from disk answers; counts the computations.
  std::string Ask() {
    DigestCache cache(path_, clock_);
    const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    const absl::StatusOr<std::string> digest = cache.DigestOf(
        fd, file_, [this] { return absl::StrCat("computed ", ++computed_); });
    ::close(fd);
    return digest.value_or("failed");
  }

  const TempFolder folder_;
  const std::string file_ = folder_.path() + "/weights";
  const std::string path_ = folder_.path() + "/digests.json";
  LaterClock clock_;
  int computed_ = 0;
};

TEST_F(DigestCacheTest, ComputesOnceWhileTheFileStays) {
  Write("one");
  EXPECT_EQ(Ask(), "computed 1");
  EXPECT_EQ(Ask(), "computed 1");
}

TEST_F(DigestCacheTest, ComputesAnewWhenTheFileIsReplaced) {
  Write("one");
  Ask();
  Write("two");
  EXPECT_EQ(Ask(), "computed 2");
}

TEST_F(DigestCacheTest, NoticesAWriteThatSetsTheTimeBack) {
  Write("one");
  Ask();
  struct stat before {};
  ASSERT_EQ(::stat(file_.c_str(), &before), 0);
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::write(fd, "two", 3), 3);
  const std::array<timespec, 2> times = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::futimens(fd, times.data()), 0);
  ::close(fd);
  EXPECT_EQ(Ask(), "computed 2");
}

TEST_F(DigestCacheTest, DoesNotTrustAFileThatWasJustWritten) {
  clock_.ahead = absl::ZeroDuration();
  Write("one");
  EXPECT_EQ(Ask(), "computed 1");
  EXPECT_EQ(Ask(), "computed 2");
}

TEST_F(DigestCacheTest, ADamagedCacheIsEmpty) {
  Write("one");
  Ask();
  for (const char* damage : {"", "{", "[]", R"({"a": 1})", "\xff"}) {
    ASSERT_TRUE(WriteFileAtomically(path_, damage).ok());
    const int before = computed_;
    Ask();
    EXPECT_EQ(computed_, before + 1) << damage;
  }
}

TEST_F(DigestCacheTest, RemembersNoFailure) {
  Write("one");
  DigestCache cache(path_, clock_);
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(cache
                .DigestOf(fd, file_,
                          []() -> absl::StatusOr<std::string> {
                            return absl::DataLossError("unreadable");
                          })
                .status(),
            absl::DataLossError("unreadable"));
  ::close(fd);
  EXPECT_EQ(Ask(), "computed 1");
}

}  // namespace
}  // namespace dissonance
