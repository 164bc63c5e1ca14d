#include "src/lab/artifacts/artifact_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;

absl::Status Damaged(absl::string_view name, const std::string& path,
                     absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(name, ": ", path, " ", what,
                   "; restore the file from a backup, or run "
                   "the job that made it again"));
}

}  // namespace

absl::StatusOr<std::string> ReadAt(int fd, const std::string& path,
                                   int64_t offset_bytes, int64_t count_bytes) {
  std::string bytes(static_cast<size_t>(count_bytes), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t n = ::pread(
        fd, bytes.data() + filled, bytes.size() - filled,
        static_cast<off_t>(offset_bytes + static_cast<int64_t>(filled)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  bytes.resize(filled);
  return bytes;
}

absl::StatusOr<ArtifactReader> ArtifactReader::Open(v1::Artifact artifact,
                                                    std::string path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) {
    return Damaged(artifact.name(), path, "is gone");
  }
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  ArtifactReader reader(std::move(artifact), std::move(path), fd);
  RETURN_IF_ERROR(reader.Verify());
  return reader;
}

ArtifactReader::ArtifactReader(v1::Artifact artifact, std::string path, int fd)
    : artifact_(std::move(artifact)), path_(std::move(path)), fd_(fd) {}

ArtifactReader::~ArtifactReader() {
  if (fd_ >= 0) ::close(fd_);
}

ArtifactReader::ArtifactReader(ArtifactReader&& other) noexcept
    : artifact_(std::move(other.artifact_)),
      path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)) {}

ArtifactReader& ArtifactReader::operator=(ArtifactReader&& other) noexcept {
  std::swap(artifact_, other.artifact_);
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

absl::Status ArtifactReader::Verify() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path_));
  }
  if (info.st_size != artifact_.size_bytes()) {
    return Damaged(artifact_.name(), path_,
                   absl::StrCat("has ", info.st_size, " bytes, not ",
                                artifact_.size_bytes()));
  }
  Sha256 digest;
  for (int64_t at = 0; at < artifact_.size_bytes(); at += kPieceBytes) {
    ASSIGN_OR_RETURN(const std::string piece,
                     ReadAt(fd_, path_, at, kPieceBytes));
    digest.Update(piece);
  }
  if (absl::StrCat("artifacts/", digest.Finish()) != artifact_.name()) {
    return Damaged(artifact_.name(), path_, "no longer matches its digest");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ArtifactReader::Read(int64_t offset_bytes,
                                                 int64_t count_bytes) const {
  if (offset_bytes < 0 || count_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("range of ", count_bytes, " bytes from ", offset_bytes,
                     ": neither may be negative"));
  }
  const int64_t left = artifact_.size_bytes() - offset_bytes;
  if (left <= 0) return std::string();
  return ReadAt(fd_, path_, offset_bytes, std::min(left, count_bytes));
}

}  // namespace dissonance
