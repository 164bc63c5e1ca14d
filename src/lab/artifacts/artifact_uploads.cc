#include "src/lab/artifacts/artifact_uploads.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/failpoint.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_name.h"
#include "src/lab/artifacts/failpoints.h"

namespace dissonance {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;
constexpr size_t kMaxUserLength = 63;
constexpr absl::string_view kSuffix = ".part";

// What TokenStore::CreateUser lets through: here it becomes part of a path.
absl::Status CheckUser(absl::string_view user) {
  const bool is_valid =
      !user.empty() && user.size() <= kMaxUserLength &&
      absl::ascii_isalnum(static_cast<unsigned char>(user.front())) &&
      user.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") ==
          absl::string_view::npos;
  if (is_valid) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("user \"", absl::CHexEscape(user.substr(0, 100)),
                   "\" is not a name of this server's users"));
}

struct PartName {
  std::string user;
  std::string hex;
};

// nullopt for what is no part's name.
std::optional<PartName> ParsePartName(absl::string_view file_name) {
  if (!absl::ConsumeSuffix(&file_name, kSuffix) ||
      file_name.size() <= kArtifactHexLength + 1) {
    return std::nullopt;
  }
  const size_t dash = file_name.size() - kArtifactHexLength - 1;
  const absl::string_view hex = file_name.substr(dash + 1);
  if (file_name[dash] != '-' || !IsArtifactHex(hex)) return std::nullopt;
  return PartName{.user = std::string(file_name.substr(0, dash)),
                  .hex = std::string(hex)};
}

absl::Status WrongOffset(absl::string_view name, int64_t offset,
                         int64_t expected) {
  return absl::OutOfRangeError(
      absl::StrCat(name, ": a piece at offset ", offset, " does not follow; ",
                   "expected offset ", expected,
                   ". GetUpload says where to go on after a broken call"));
}

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

}  // namespace

ArtifactUpload::ArtifactUpload(ArtifactUploads& uploads, v1::Artifact artifact,
                               ArtifactOwner owner, std::string hex)
    : uploads_(uploads),
      artifact_(std::move(artifact)),
      owner_(std::move(owner)),
      hex_(std::move(hex)),
      path_(uploads.PathOf(owner_.user, hex_)) {}

ArtifactUpload::~ArtifactUpload() {
  if (fd_ >= 0) ::close(fd_);
  uploads_.Release(owner_.user, hex_);
}

absl::Status ArtifactUpload::Open(int64_t offset_bytes) {
  const int if_new = offset_bytes == 0 ? O_CREAT | O_TRUNC : 0;
  fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | if_new, 0600);
  if (fd_ < 0 && errno == ENOENT) {
    return WrongOffset(artifact_.name(), offset_bytes, 0);
  }
  if (fd_ < 0) return FileError("open", path_);
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return FileError("stat", path_);
  if (offset_bytes != info.st_size) {
    return WrongOffset(artifact_.name(), offset_bytes, info.st_size);
  }
  if (offset_bytes > artifact_.size_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        artifact_.name(), ": ", info.st_size, " bytes are there, more than ",
        "size_bytes, ", artifact_.size_bytes(), "; send it anew from 0"));
  }
  received_bytes_ = info.st_size;
  return ReadPart();
}

absl::Status ArtifactUpload::ReadPart() {
  for (int64_t at = 0; at < received_bytes_; at += kPieceBytes) {
    const int64_t count = std::min(kPieceBytes, received_bytes_ - at);
    ASSIGN_OR_RETURN(const std::string piece, ReadAt(fd_, path_, at, count));
    digest_.Update(piece);
  }
  return absl::OkStatus();
}

absl::Status ArtifactUpload::Append(int64_t offset_bytes,
                                    absl::string_view data) {
  if (offset_bytes != received_bytes_) {
    return WrongOffset(artifact_.name(), offset_bytes, received_bytes_);
  }
  if (data.size() > kMaxPieceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(artifact_.name(), ": a piece of ", data.size(),
                     " bytes; send at most ", kMaxPieceBytes, " at a time"));
  }
  const auto count = static_cast<int64_t>(data.size());
  if (count > artifact_.size_bytes() - received_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat(
        artifact_.name(), ": ", count, " bytes at offset ", offset_bytes,
        " reach past size_bytes, ", artifact_.size_bytes()));
  }
  for (absl::string_view rest = data; !rest.empty();) {
    const auto at = received_bytes_ + count - static_cast<int64_t>(rest.size());
    const ssize_t n = ::pwrite(fd_, rest.data(), rest.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const absl::Status failed =
          FileError(absl::StrCat("write ", count, " bytes to"), path_);
      ::unlink(path_.c_str());
      return failed;
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  received_bytes_ += count;
  digest_.Update(data);
  Failpoint(kFailpointAppended);
  return absl::OkStatus();
}

absl::StatusOr<v1::Artifact> ArtifactUpload::Finish() {
  if (received_bytes_ != artifact_.size_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        artifact_.name(), ": the upload ended after ", received_bytes_, " of ",
        artifact_.size_bytes(), " bytes; go on where GetUpload says"));
  }
  const std::string name = absl::StrCat("artifacts/", digest_.Finish());
  if (name != artifact_.name()) {
    ::unlink(path_.c_str());
    return absl::InvalidArgumentError(absl::StrCat(
        artifact_.name(), ": the bytes that came are ", name,
        "; nothing was stored: see that the file does not change while it is "
        "sent, then send it anew"));
  }
  if (::fsync(fd_) != 0) {
    const absl::Status failed = FileError("flush", path_);
    ::unlink(path_.c_str());
    return failed;
  }
  Failpoint(kFailpointFlushed);
  return uploads_.store_.Adopt(path_, artifact_, owner_);
}

absl::StatusOr<std::unique_ptr<ArtifactUploads>> ArtifactUploads::Create(
    const std::string& data_dir, ArtifactStore& store, ArtifactIndex& index,
    const Options& options) {
  const std::string directory = data_dir + "/uploads";
  RETURN_IF_ERROR(MakeDirectories(directory));
  RETURN_IF_ERROR(SyncDirectory(data_dir));
  return std::unique_ptr<ArtifactUploads>(
      new ArtifactUploads(directory, store, index, options));
}

ArtifactUploads::ArtifactUploads(std::string directory, ArtifactStore& store,
                                 ArtifactIndex& index, const Options& options)
    : directory_(std::move(directory)),
      store_(store),
      index_(index),
      options_(options) {}

std::string ArtifactUploads::PathOf(absl::string_view user,
                                    absl::string_view hex) const {
  return absl::StrCat(directory_, "/", user, "-", hex, kSuffix);
}

absl::StatusOr<std::unique_ptr<ArtifactUpload>> ArtifactUploads::Begin(
    const v1::WriteArtifactRequest& first, const ArtifactOwner& owner) {
  ASSIGN_OR_RETURN(std::string hex, ArtifactHex(first.name()));
  RETURN_IF_ERROR(CheckUser(owner.user));
  if (first.size_bytes() < 0 || first.offset_bytes() < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        first.name(), ": size_bytes ", first.size_bytes(), ", offset_bytes ",
        first.offset_bytes(), ": neither may be negative"));
  }
  if (first.size_bytes() > options_.max_upload_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        first.name(), ": size_bytes is ", first.size_bytes(),
        ", more than the limit of ", options_.max_upload_bytes, " bytes"));
  }
  v1::Artifact artifact;
  artifact.set_name(first.name());
  artifact.set_size_bytes(first.size_bytes());
  artifact.set_media_type(first.media_type());
  RETURN_IF_ERROR(Claim(owner.user, hex));
  // Gives the claim back from here on.
  std::unique_ptr<ArtifactUpload> upload(
      new ArtifactUpload(*this, std::move(artifact), owner, std::move(hex)));
  RETURN_IF_ERROR(index_.CheckRoom(first.name(), first.size_bytes(),
                                   UnfinishedBytes(owner.user, upload->hex_),
                                   owner));
  RETURN_IF_ERROR(upload->Open(first.offset_bytes()));
  return upload;
}

absl::StatusOr<v1::GetUploadResponse> ArtifactUploads::Find(
    absl::string_view user, absl::string_view name) const {
  ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(name));
  RETURN_IF_ERROR(CheckUser(user));
  v1::GetUploadResponse found;
  found.set_complete(store_.Has(name, {.user = std::string(user)}));
  struct stat info {};
  if (::lstat(PathOf(user, hex).c_str(), &info) == 0) {
    found.set_received_bytes(info.st_size);
  }
  return found;
}

absl::Status ArtifactUploads::Claim(const std::string& user,
                                    const std::string& hex) {
  const absl::MutexLock lock(&mutex_);
  std::set<std::string>& active = active_[user];
  if (active.contains(hex)) {
    return absl::AbortedError(absl::StrCat(
        kArtifactPrefix, hex,
        " is being uploaded by another call of yours; wait for it, or end it "
        "and try again"));
  }
  if (active.size() >= kMaxPerUser) {
    return absl::ResourceExhaustedError(
        absl::StrCat("users/", user, " has ", active.size(),
                     " uploads under way, which is the limit; wait for one of "
                     "them to end"));
  }
  active.insert(hex);
  return absl::OkStatus();
}

void ArtifactUploads::Release(const std::string& user, const std::string& hex) {
  const absl::MutexLock lock(&mutex_);
  const auto active = active_.find(user);
  active->second.erase(hex);
  if (active->second.empty()) active_.erase(active);
}

int64_t ArtifactUploads::UnfinishedBytes(absl::string_view user,
                                         absl::string_view hex) const {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory_, error)) {
    const auto part = ParsePartName(entry.path().filename().native());
    if (!part.has_value() || part->user != user || part->hex == hex) continue;
    const auto size = entry.file_size(error);
    // It may have gone just now.
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

absl::StatusOr<ArtifactTotals> ArtifactUploads::RemoveOld(absl::Time now,
                                                          bool dry_run) {
  ArtifactTotals removed;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory_, error)) {
    const std::string& path = entry.path().native();
    const auto part = ParsePartName(entry.path().filename().native());
    if (!part.has_value()) continue;
    // Held so that nobody begins to go on with it.
    const absl::MutexLock lock(&mutex_);
    const auto active = active_.find(part->user);
    if (active != active_.end() && active->second.contains(part->hex)) continue;
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 ||
        absl::TimeFromTimespec(info.st_mtim) > now - kPartLifetime) {
      continue;
    }
    if (!dry_run && ::unlink(path.c_str()) != 0) continue;
    ++removed.count;
    removed.bytes += info.st_size;
  }
  if (!error) return removed;
  return absl::ErrnoToStatus(error.value(),
                             absl::StrCat("cannot list ", directory_));
}

}  // namespace dissonance
