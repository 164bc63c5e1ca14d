#include "client/cli/log_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// As far back as lines are looked for.
constexpr int64_t kTailBytes = 1 << 20;

// The bytes from `offset` to the end.
absl::StatusOr<std::string> ReadFrom(const std::string& path, int64_t offset) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  std::string out;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(),
                              offset + static_cast<int64_t>(out.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace

int64_t FileSize(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

absl::StatusOr<LogTail> LastLines(const std::string& path, int line_count,
                                  int64_t from_byte) {
  const int64_t start = std::max(from_byte, FileSize(path) - kTailBytes);
  ASSIGN_OR_RETURN(const std::string tail, ReadFrom(path, start));
  size_t begin = tail.size();
  for (int line = 0; line < line_count && begin > 0; ++line) {
    // The line break that ends the line before this one.
    const size_t found =
        begin < 2 ? std::string::npos : tail.rfind('\n', begin - 2);
    begin = found == std::string::npos ? 0 : found + 1;
  }
  return LogTail{tail.substr(begin), start + static_cast<int64_t>(tail.size())};
}

absl::Status FollowFile(const std::string& path, int64_t from_byte,
                        const std::function<void(absl::string_view)>& sink) {
  const int fd = ::inotify_init1(IN_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "cannot watch files");
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  // The folder, so that a file put in the old one's place is seen too.
  const std::string folder = std::filesystem::path(path).parent_path();
  if (::inotify_add_watch(fd, folder.c_str(),
                          IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot watch ", folder));
  }
  int64_t offset = from_byte;
  while (true) {
    if (FileSize(path) < offset) offset = 0;
    ASSIGN_OR_RETURN(const std::string added, ReadFrom(path, offset));
    offset += static_cast<int64_t>(added.size());
    if (!added.empty()) sink(added);
    std::array<char, 4096> events;
    if (::read(fd, events.data(), events.size()) < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "cannot watch files");
    }
  }
}

}  // namespace dissonance::cli
