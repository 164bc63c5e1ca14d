#include "src/lab/artifacts/artifact_writer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/failpoint.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_name.h"
#include "src/lab/artifacts/failpoints.h"

namespace dissonance {
namespace {

// Named as an AtomicFile of the store is, so that garbage collection and checks
// know it for what it is.
std::string TemplateIn(const std::string& directory) {
  return absl::StrCat(directory, "/00/", std::string(kArtifactHexLength, '0'),
                      ".tmp.XXXXXX");
}

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

}  // namespace

absl::StatusOr<ArtifactWriter> ArtifactWriter::Create(
    ArtifactStore& store, absl::string_view media_type,
    const ArtifactOwner& owner) {
  RETURN_IF_ERROR(MakeDirectories(store.directory() + "/00"));
  std::string path = TemplateIn(store.directory());
  // For its owner only, as all artifacts.
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return FileError("create", path);
  return ArtifactWriter(store, media_type, owner, std::move(path), fd);
}

ArtifactWriter::ArtifactWriter(ArtifactStore& store,
                               absl::string_view media_type,
                               ArtifactOwner owner, std::string path, int fd)
    : store_(store),
      media_type_(media_type),
      owner_(std::move(owner)),
      path_(std::move(path)),
      fd_(fd) {}

ArtifactWriter::ArtifactWriter(ArtifactWriter&& other) noexcept
    : store_(other.store_),
      media_type_(other.media_type_),
      owner_(other.owner_),
      path_(std::exchange(other.path_, {})),
      fd_(std::exchange(other.fd_, -1)),
      size_bytes_(other.size_bytes_),
      digest_(std::move(other.digest_)) {}

ArtifactWriter::~ArtifactWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!path_.empty()) ::unlink(path_.c_str());
}

absl::Status ArtifactWriter::Append(absl::string_view bytes) {
  const absl::string_view all = bytes;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return FileError(absl::StrCat("write ", all.size(), " bytes after ",
                                    size_bytes_, " to"),
                       path_);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  digest_.Update(all);
  size_bytes_ += static_cast<int64_t>(all.size());
  return absl::OkStatus();
}

absl::StatusOr<v1::Artifact> ArtifactWriter::Commit() {
  if (::fsync(fd_) != 0) {
    return FileError(absl::StrCat("flush ", size_bytes_, " bytes of"), path_);
  }
  ::close(std::exchange(fd_, -1));
  Failpoint(kFailpointWritten);
  v1::Artifact artifact;
  artifact.set_name(absl::StrCat("artifacts/", digest_.Finish()));
  artifact.set_size_bytes(size_bytes_);
  artifact.set_media_type(media_type_);
  ASSIGN_OR_RETURN(artifact, store_.Adopt(path_, artifact, owner_));
  path_.clear();
  return artifact;
}

}  // namespace dissonance
