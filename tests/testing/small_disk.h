// A small file system of a test's own, to be filled up. Mounting it needs root.
// Not thread safe; unmounted at the end.
//
//   SmallDisk disk(/*mebibytes=*/3);
//   if (!disk.mounted()) GTEST_SKIP() << "NOT RUN: needs root";
//   disk.Fill(/*left=*/300'000);
#ifndef DISSONANCE_TESTS_TESTING_SMALL_DISK_H_
#define DISSONANCE_TESTS_TESTING_SMALL_DISK_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

class SmallDisk {
 public:
  explicit SmallDisk(int mebibytes)
      : mounted_(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0,
                         absl::StrCat("size=", mebibytes, "m").c_str()) == 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const std::string& path() const { return folder_.path(); }
  // Takes all of the free space but `left` bytes.
  void Fill(uint64_t left) {
    struct statvfs space {};
    ASSERT_EQ(::statvfs(path().c_str(), &space), 0);
    const int fd =
        ::open(filler_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const auto size =
        static_cast<off_t>(space.f_bavail * space.f_frsize - left);
    EXPECT_EQ(::posix_fallocate(fd, 0, size), 0);
    ::close(fd);
  }
  void Free() const { std::filesystem::remove(filler_); }

 private:
  const TempFolder folder_;
  const std::string filler_ = folder_.File("filler");
  const bool mounted_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_SMALL_DISK_H_
