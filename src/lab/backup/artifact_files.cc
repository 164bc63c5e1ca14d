#include "src/lab/backup/artifact_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kNamePrefix = "artifacts/sha256:";
constexpr size_t kHexLength = 64;
constexpr size_t kShardLength = 2;
constexpr size_t kPieceBytes = 1 << 20;

absl::Status Errno(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " ", path));
}

absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return Errno(absl::StrCat("cannot write ", bytes.size(), " bytes to"),
                   path);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// Reads `from` to its end, into `to`.
absl::StatusOr<CopiedFile> CopyBytes(int from, const std::string& from_path,
                                     int to, const std::string& to_path) {
  Sha256 digest;
  CopiedFile copied;
  std::string buffer(kPieceBytes, '\0');
  while (true) {
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno("cannot read", from_path);
    if (n == 0) break;
    const absl::string_view piece(buffer.data(), static_cast<size_t>(n));
    digest.Update(piece);
    RETURN_IF_ERROR(WriteAll(to, piece, to_path));
    copied.size_bytes += n;
  }
  if (::fsync(to) != 0) return Errno("cannot flush", to_path);
  copied.digest = digest.Finish();
  return copied;
}

}  // namespace

absl::StatusOr<std::string> ArtifactHex(const std::string& name) {
  absl::string_view hex = name;
  if (!absl::ConsumePrefix(&hex, kNamePrefix) || hex.size() != kHexLength ||
      hex.find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
    return absl::DataLossError(absl::StrCat(
        "the database names an artifact \"", absl::CHexEscape(name),
        "\", which no artifact is called: it is damaged or was changed by "
        "hand"));
  }
  return std::string(hex);
}

std::string ArtifactPath(const std::string& root, const std::string& hex) {
  return absl::StrCat(root, "/artifacts/", hex.substr(0, kShardLength), "/",
                      hex);
}

absl::StatusOr<CopiedFile> CopyFile(const std::string& from,
                                    const std::string& to) {
  const int in =
      ::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (in < 0) return Errno("cannot open", from);
  const absl::Cleanup close_in = [in] { ::close(in); };
  struct stat info {};
  if (::fstat(in, &info) != 0) return Errno("cannot stat", from);
  if (!S_ISREG(info.st_mode)) {
    return absl::DataLossError(absl::StrCat(from, " is not a regular file"));
  }
  const int out =
      ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (out < 0) return Errno("cannot create", to);
  const absl::Cleanup close_out = [out] { ::close(out); };
  return CopyBytes(in, from, out, to);
}

absl::Status CopyArtifacts(const std::vector<StoredArtifact>& artifacts,
                           const std::string& from_root,
                           const std::string& to_root) {
  const std::string folder = to_root + "/artifacts";
  RETURN_IF_ERROR(MakeDirectories(folder));
  std::set<std::string> shards;
  for (const StoredArtifact& artifact : artifacts) {
    ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(artifact.name));
    const std::string from = ArtifactPath(from_root, hex);
    const std::string to = ArtifactPath(to_root, hex);
    if (shards.insert(ParentFolder(to)).second) {
      RETURN_IF_ERROR(MakeDirectories(ParentFolder(to)));
    }
    const absl::StatusOr<CopiedFile> copied = CopyFile(from, to);
    if (absl::IsNotFound(copied.status())) {
      return absl::DataLossError(
          absl::StrCat(artifact.name, " is on record, but its file ", from,
                       " is gone; 'dissonanced check' lists all that are"));
    }
    RETURN_IF_ERROR(copied.status());
    if (copied->size_bytes != artifact.size_bytes ||
        absl::StrCat("artifacts/", copied->digest) != artifact.name) {
      return absl::DataLossError(absl::StrCat(
          from, " no longer holds the ", artifact.size_bytes, " bytes of ",
          artifact.name, "; 'dissonanced check' lists all that differ"));
    }
  }
  for (const std::string& shard : shards) RETURN_IF_ERROR(SyncDirectory(shard));
  return SyncDirectory(folder);
}

absl::Status MakeFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  return Errno("cannot make folder", path);
}

std::string ParentFolder(const std::string& path) {
  return std::filesystem::path(path).parent_path();
}

absl::StatusOr<std::string> CleanPath(absl::string_view what,
                                      absl::string_view path) {
  const std::string text(path);
  if (text.empty() || text.front() != '/' ||
      text.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " \"", absl::CHexEscape(text.substr(0, 4096)),
                     "\": give an absolute path on the server's machine"));
  }
  std::filesystem::path clean = std::filesystem::path(text).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (clean.has_filename()) return std::string(clean);
  return absl::InvalidArgumentError(
      absl::StrCat(what, " is \"/\": give the path of a folder"));
}

absl::Status PutInPlace(const std::string& unfinished,
                        const std::string& path) {
  RETURN_IF_ERROR(SyncDirectory(unfinished));
  if (::rename(unfinished.c_str(), path.c_str()) != 0) {
    return Errno(absl::StrCat("cannot rename ", unfinished, " to"), path);
  }
  return SyncDirectory(ParentFolder(path));
}

}  // namespace dissonance
