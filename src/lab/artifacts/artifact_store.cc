#include "src/lab/artifacts/artifact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kNamePrefix = "artifacts/sha256:";
constexpr size_t kHexLength = 64;
constexpr size_t kShardLength = 2;
constexpr int64_t kPieceBytes = 1 << 20;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

// The digits of a name. Nothing else ever becomes part of a path.
absl::StatusOr<std::string> HexOf(absl::string_view name) {
  absl::string_view hex = name;
  if (!absl::ConsumePrefix(&hex, kNamePrefix) || hex.size() != kHexLength ||
      hex.find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", absl::CHexEscape(name.substr(0, 100)),
        "\" is not an artifact's name: give \"artifacts/sha256:\" and 64 "
        "lower-case hex digits"));
  }
  return std::string(hex);
}

absl::Status Damaged(absl::string_view name, const std::string& path,
                     absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(name, ": ", path, " ", what,
                   "; restore the file from a backup, or run "
                   "the job that made it again"));
}

// Up to `count` bytes at `offset`; fewer only at the end of the file.
absl::StatusOr<std::string> ReadAt(int fd, const std::string& path,
                                   int64_t offset, int64_t count) {
  std::string bytes(static_cast<size_t>(count), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + filled, bytes.size() - filled,
                static_cast<off_t>(offset + static_cast<int64_t>(filled)));
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

absl::Status Verify(int fd, const std::string& path,
                    const v1::Artifact& artifact) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (info.st_size != artifact.size_bytes()) {
    return Damaged(artifact.name(), path,
                   absl::StrCat("has ", info.st_size, " bytes, not ",
                                artifact.size_bytes()));
  }
  Sha256 digest;
  for (int64_t at = 0; at < artifact.size_bytes(); at += kPieceBytes) {
    ASSIGN_OR_RETURN(const std::string piece,
                     ReadAt(fd, path, at, kPieceBytes));
    digest.Update(piece);
  }
  if (absl::StrCat("artifacts/", digest.Finish()) != artifact.name()) {
    return Damaged(artifact.name(), path, "no longer matches its digest");
  }
  return absl::OkStatus();
}

}  // namespace

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

absl::StatusOr<std::unique_ptr<ArtifactStore>> ArtifactStore::Create(
    const std::string& data_dir, ArtifactIndex& index, const Clock& clock) {
  const std::string directory = data_dir + "/artifacts";
  RETURN_IF_ERROR(MakeDirectories(directory));
  RETURN_IF_ERROR(SyncDirectory(data_dir));
  return std::unique_ptr<ArtifactStore>(
      new ArtifactStore(directory, index, clock));
}

ArtifactStore::ArtifactStore(std::string directory, ArtifactIndex& index,
                             const Clock& clock)
    : directory_(std::move(directory)), index_(index), clock_(clock) {}

std::string ArtifactStore::PathOf(absl::string_view hex) const {
  return absl::StrCat(directory_, "/", hex.substr(0, kShardLength), "/", hex);
}

absl::StatusOr<v1::Artifact> ArtifactStore::Put(absl::string_view bytes,
                                                absl::string_view media_type) {
  v1::Artifact artifact;
  artifact.set_name(absl::StrCat("artifacts/", Sha256Of(bytes)));
  artifact.set_size_bytes(static_cast<int64_t>(bytes.size()));
  artifact.set_media_type(std::string(media_type));
  *artifact.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
          absl::ToUnixMicros(clock_.Now()));
  if (absl::StatusOr<ArtifactReader> whole = Open(artifact.name());
      whole.ok()) {
    return whole->artifact();
  }
  ASSIGN_OR_RETURN(const std::string hex, HexOf(artifact.name()));
  RETURN_IF_ERROR(
      MakeDirectories(absl::StrCat(directory_, "/", hex.substr(0, 2))));
  RETURN_IF_ERROR(WriteFileAtomically(PathOf(hex), bytes, 0600));
  // The folder of the file may be new.
  RETURN_IF_ERROR(SyncDirectory(directory_));
  return index_.Insert(artifact);
}

absl::StatusOr<v1::Artifact> ArtifactStore::Get(absl::string_view name) {
  RETURN_IF_ERROR(HexOf(name).status());
  return index_.Get(name);
}

absl::StatusOr<ArtifactPage> ArtifactStore::List(int page_size,
                                                 absl::string_view page_token) {
  if (page_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", page_size, ": give 0 to 1000"));
  }
  int64_t before = 0;
  if (!page_token.empty() &&
      (!absl::SimpleAtoi(page_token, &before) || before <= 0)) {
    return absl::InvalidArgumentError(
        "page_token: give the next_page_token of the page before, unchanged");
  }
  const int limit =
      page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  ASSIGN_OR_RETURN(std::vector<IndexedArtifact> rows,
                   index_.List(before, limit + 1));
  ArtifactPage page;
  if (rows.size() > static_cast<size_t>(limit)) {
    rows.pop_back();
    page.next_page_token = absl::StrCat(rows.back().sequence);
  }
  for (IndexedArtifact& row : rows) {
    page.artifacts.push_back(std::move(row.artifact));
  }
  return page;
}

absl::StatusOr<ArtifactReader> ArtifactStore::Open(absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string hex, HexOf(name));
  ASSIGN_OR_RETURN(v1::Artifact artifact, index_.Get(name));
  std::string path = PathOf(hex);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) return Damaged(name, path, "is gone");
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  ArtifactReader reader(std::move(artifact), std::move(path), fd);
  RETURN_IF_ERROR(Verify(reader.fd_, reader.path_, reader.artifact_));
  return reader;
}

}  // namespace dissonance
