#include "src/lab/storage/data_dir_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

std::string HolderOf(int fd) {
  std::array<char, 32> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  if (n <= 0) return "another process";
  const absl::string_view pid = absl::StripAsciiWhitespace(
      absl::string_view(text.data(), static_cast<size_t>(n)));
  return absl::StrCat("process ", pid);
}

absl::Status InUse(const std::string& data_dir, int fd) {
  return absl::FailedPreconditionError(absl::StrCat(
      "data directory ", data_dir, " is in use by ", HolderOf(fd),
      ": stop that server first (dissonance server stop), or start this one "
      "with another --data-dir"));
}

}  // namespace

absl::StatusOr<DataDirLock> DataDirLock::Acquire(const std::string& data_dir) {
  const std::string path = data_dir + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot open ", path,
                            ": see that the folder is there and that this "
                            "user may write in it"));
  }
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return InUse(data_dir, fd);
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot lock ", path,
                            ": the data directory has to be on a file system "
                            "with locks"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) !=
                                     static_cast<ssize_t>(pid.size())) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot write ", pid.size(), " bytes to ", path));
  }
  std::move(close_fd).Cancel();
  return DataDirLock(fd);
}

DataDirLock::~DataDirLock() {
  if (fd_ >= 0) ::close(fd_);
}

DataDirLock::DataDirLock(DataDirLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

DataDirLock& DataDirLock::operator=(DataDirLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace dissonance
