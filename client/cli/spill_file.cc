#include "client/cli/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr int64_t kCopyBytes = 1 << 20;

}  // namespace

absl::StatusOr<SpillFile> SpillFile::Create(const std::string& directory) {
  std::string path = absl::StrCat(directory, "/.spill.XXXXXX");
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot create a file in ", directory));
  }
  ::unlink(path.c_str());
  return SpillFile(directory, fd);
}

SpillFile::SpillFile(std::string directory, int fd)
    : directory_(std::move(directory)), fd_(fd) {}

SpillFile::SpillFile(SpillFile&& other) noexcept
    : directory_(std::move(other.directory_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)) {}

SpillFile& SpillFile::operator=(SpillFile&& other) noexcept {
  std::swap(directory_, other.directory_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

SpillFile::~SpillFile() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status SpillFile::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("cannot write ", bytes.size(),
                              " bytes to a temporary file in ", directory_));
    }
    size_ += n;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status SpillFile::Truncate(int64_t size) {
  if (::ftruncate(fd_, size) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot cut a temporary file in ", directory_));
  }
  size_ = size;
  return absl::OkStatus();
}

absl::Status SpillFile::CopyTo(int64_t offset, int64_t size,
                               AtomicFile& file) const {
  std::string buffer(static_cast<size_t>(std::min(size, kCopyBytes)), '\0');
  while (size > 0) {
    const auto want = static_cast<size_t>(std::min(size, kCopyBytes));
    const ssize_t n = ::pread(fd_, buffer.data(), want, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return absl::ErrnoToStatus(
          n < 0 ? errno : EIO,
          absl::StrCat("cannot read a temporary file in ", directory_));
    }
    RETURN_IF_ERROR(file.Append({buffer.data(), static_cast<size_t>(n)}));
    offset += n;
    size -= n;
  }
  return absl::OkStatus();
}

}  // namespace dissonance::cli
