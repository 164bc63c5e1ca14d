#include "src/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

// The system would cut the path at the NUL and use another file.
absl::Status CheckPath(absl::string_view path) {
  if (path.find('\0') == absl::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError("a path must not contain a NUL byte");
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t limit_bytes) {
  RETURN_IF_ERROR(CheckPath(path));
  // O_NONBLOCK: a named pipe is refused below instead of waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file"));
  }
  std::string contents;
  std::string buffer(1 << 16, '\0');
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (n == 0) return contents;
    if (contents.size() + static_cast<size_t>(n) > limit_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          path, " is larger than the limit of ", limit_bytes, " bytes"));
    }
    contents.append(buffer.data(), static_cast<size_t>(n));
  }
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents,
                                 unsigned int mode) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, mode));
  RETURN_IF_ERROR(file.Append(contents));
  return file.Commit();
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd,
                       unsigned int mode)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      fd_(fd),
      mode_(mode) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)),
      mode_(other.mode_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  Discard();
  path_ = std::move(other.path_);
  temporary_ = std::exchange(other.temporary_, {});
  fd_ = std::exchange(other.fd_, -1);
  mode_ = other.mode_;
  return *this;
}

AtomicFile::~AtomicFile() { Discard(); }

void AtomicFile::Discard() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_.empty()) ::unlink(std::exchange(temporary_, {}).c_str());
}

absl::StatusOr<AtomicFile> AtomicFile::Create(std::string path,
                                              unsigned int mode) {
  RETURN_IF_ERROR(CheckPath(path));
  std::string temporary = path + ".tmp.XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot create a file beside ", path));
  }
  return AtomicFile(std::move(path), std::move(temporary), fd, mode);
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  const size_t total = bytes.size();
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("cannot write ", total, " bytes to ", path_));
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (::fsync(fd_) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot flush ", path_));
  }
  if (::fchmod(fd_, mode_) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot set mode of ", path_));
  }
  ::close(std::exchange(fd_, -1));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot replace ", path_));
  }
  temporary_.clear();
  return SyncDirectory(ParentOf(path_));
}

void ReadAhead(const std::string& directory, absl::string_view suffix,
               absl::FunctionRef<bool()> stop) {
  std::vector<char> buffer(1 << 20);
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory, error)) {
    if (!absl::EndsWith(entry.path().native(), suffix)) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    // Faster than advice, which reads a large file in small pieces.
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while (!stop() && ::read(fd, buffer.data(), buffer.size()) > 0) {
    }
    ::close(fd);
  }
}

absl::Status MakeDirectories(const std::string& path) {
  RETURN_IF_ERROR(CheckPath(path));
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("cannot make folder ", path));
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& directory) {
  RETURN_IF_ERROR(CheckPath(directory));
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot open folder ", directory));
  }
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (::fsync(fd) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot flush folder ", directory));
  }
  return absl::OkStatus();
}

}  // namespace dissonance
