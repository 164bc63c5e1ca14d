#include "src/lab/artifacts/artifact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/failpoint.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_name.h"
#include "src/lab/artifacts/failpoints.h"

namespace dissonance {
namespace {

constexpr size_t kShardLength = 2;
constexpr int64_t kPieceBytes = 1 << 20;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr unsigned int kOwnerOnly = 0600;

// When the bytes at `path` were last stored, and how many they are.
struct FileFacts {
  absl::Time stored = absl::InfinitePast();
  int64_t size_bytes = -1;
};

FileFacts FactsOf(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  return {.stored = absl::TimeFromTimespec(info.st_mtim),
          .size_bytes = info.st_size};
}

absl::Status Touch(const std::string& path) {
  if (::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot touch ", path));
}

absl::Status Copy(const ArtifactReader& reader, const std::string& path) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, kOwnerOnly));
  const int64_t size = reader.artifact().size_bytes();
  for (int64_t at = 0; at < size; at += kPieceBytes) {
    ASSIGN_OR_RETURN(const std::string piece, reader.Read(at, kPieceBytes));
    RETURN_IF_ERROR(file.Append(piece));
  }
  return file.Commit();
}

// rename(2), also onto another file system.
absl::Status Move(const std::string& from, const v1::Artifact& artifact,
                  const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  if (errno != EXDEV) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot move ", from, " to ", to));
  }
  ASSIGN_OR_RETURN(const ArtifactReader reader,
                   ArtifactReader::Open(artifact, from));
  RETURN_IF_ERROR(Copy(reader, to));
  ::unlink(from.c_str());
  return absl::OkStatus();
}

}  // namespace

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

absl::StatusOr<v1::Artifact> ArtifactStore::Store(
    v1::Artifact artifact, const ArtifactOwner& owner,
    absl::FunctionRef<absl::Status(const std::string& path)> place) {
  ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(artifact.name()));
  *artifact.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
          absl::ToUnixMicros(clock_.Now()));
  RETURN_IF_ERROR(index_.CheckRoom(artifact.name(), artifact.size_bytes(),
                                   /*unfinished_bytes=*/0, owner));
  const std::string shard =
      absl::StrCat(directory_, "/", hex.substr(0, kShardLength));
  const auto store = [&]() -> absl::StatusOr<v1::Artifact> {
    const absl::ReaderMutexLock lock(&files_mutex_);
    RETURN_IF_ERROR(MakeDirectories(shard));
    RETURN_IF_ERROR(place(PathOf(hex)));
    RETURN_IF_ERROR(Touch(PathOf(hex)));
    RETURN_IF_ERROR(SyncDirectory(shard));
    // The folder of the file may be new.
    RETURN_IF_ERROR(SyncDirectory(directory_));
    Failpoint(kFailpointPlaced);
    return index_.Add(artifact, owner);
  };
  absl::StatusOr<v1::Artifact> stored = store();
  if (!stored.ok()) {
    // Why it failed says more than a failure of this.
    (void)RemoveOrphans({hex}, absl::InfiniteFuture(), /*dry_run=*/false);
  }
  return stored;
}

absl::StatusOr<v1::Artifact> ArtifactStore::Put(absl::string_view bytes,
                                                absl::string_view media_type,
                                                const ArtifactOwner& owner) {
  v1::Artifact artifact;
  artifact.set_name(absl::StrCat("artifacts/", Sha256Of(bytes)));
  artifact.set_size_bytes(static_cast<int64_t>(bytes.size()));
  artifact.set_media_type(std::string(media_type));
  return Store(artifact, owner, [&](const std::string& path) {
    if (OpenOnce(artifact.name(), {.sees_all = true}).ok()) {
      return absl::OkStatus();
    }
    return WriteFileAtomically(path, bytes, kOwnerOnly);
  });
}

absl::StatusOr<v1::Artifact> ArtifactStore::Adopt(const std::string& path,
                                                  const v1::Artifact& artifact,
                                                  const ArtifactOwner& owner) {
  return Store(artifact, owner, [&](const std::string& place) {
    return Move(path, artifact, place);
  });
}

absl::StatusOr<v1::Artifact> ArtifactStore::Get(absl::string_view name,
                                                const Viewer& viewer) {
  RETURN_IF_ERROR(ArtifactHex(name).status());
  return index_.Get(name, viewer);
}

bool ArtifactStore::Has(absl::string_view name, const Viewer& viewer) {
  const absl::StatusOr<v1::Artifact> artifact = Get(name, viewer);
  if (!artifact.ok() || !artifact->owned()) return false;
  const std::string path = PathOf(name.substr(kArtifactPrefix.size()));
  return FactsOf(path).size_bytes == artifact->size_bytes();
}

absl::StatusOr<ArtifactPage> ArtifactStore::List(const Viewer& viewer,
                                                 int page_size,
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
                   index_.List(viewer, before, limit + 1));
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

absl::StatusOr<ArtifactReader> ArtifactStore::OpenOnce(absl::string_view name,
                                                       const Viewer& viewer) {
  ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(name));
  ASSIGN_OR_RETURN(v1::Artifact artifact, index_.Get(name, viewer));
  return ArtifactReader::Open(std::move(artifact), PathOf(hex));
}

absl::StatusOr<ArtifactReader> ArtifactStore::Open(absl::string_view name,
                                                   const Viewer& viewer) {
  absl::StatusOr<ArtifactReader> reader = OpenOnce(name, viewer);
  if (!absl::IsDataLoss(reader.status())) return reader;
  // It may have been removed between the two looks.
  const absl::ReaderMutexLock lock(&files_mutex_);
  return OpenOnce(name, viewer);
}

absl::StatusOr<ArtifactReader> ArtifactStore::Open(absl::string_view name) {
  return Open(name, {.sees_all = true});
}

absl::Status ArtifactStore::Export(absl::string_view name, const Viewer& viewer,
                                   const std::string& path) {
  const absl::ReaderMutexLock lock(&files_mutex_);
  ASSIGN_OR_RETURN(const ArtifactReader reader, OpenOnce(name, viewer));
  const std::string stored = PathOf(name.substr(kArtifactPrefix.size()));
  if (::link(stored.c_str(), path.c_str()) == 0) return absl::OkStatus();
  if (errno == EXDEV || errno == EPERM || errno == EMLINK ||
      errno == EOPNOTSUPP) {
    return Copy(reader, path);
  }
  return absl::ErrnoToStatus(
      errno, absl::StrCat("cannot link ", stored, " to ", path));
}

absl::Status ArtifactStore::Keep(absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(name));
  const absl::ReaderMutexLock lock(&files_mutex_);
  const absl::Status touched = Touch(PathOf(hex));
  if (!absl::IsNotFound(touched)) return touched;
  return OpenOnce(name, {.sees_all = true}).status();
}

absl::StatusOr<v1::Artifact> ArtifactStore::Update(
    absl::string_view name, const Viewer& viewer,
    const ArtifactUpdate& update) {
  RETURN_IF_ERROR(ArtifactHex(name).status());
  if (!v1::Visibility_IsValid(update.visibility)) {
    return absl::InvalidArgumentError(
        absl::StrCat("visibility is ", static_cast<int>(update.visibility),
                     ": give VISIBILITY_PRIVATE or VISIBILITY_LAB"));
  }
  return index_.Update(name, viewer, update);
}

absl::Status ArtifactStore::Delete(absl::string_view name,
                                   const Viewer& viewer) {
  ASSIGN_OR_RETURN(const std::string hex, ArtifactHex(name));
  const absl::MutexLock lock(&files_mutex_);
  ASSIGN_OR_RETURN(const bool is_gone, index_.GiveUp(name, viewer));
  if (is_gone && hold_count_ == 0) ::unlink(PathOf(hex).c_str());
  return absl::OkStatus();
}

absl::Status ArtifactStore::WithoutRemovals(
    absl::FunctionRef<absl::Status()> body) {
  {
    const absl::MutexLock lock(&files_mutex_);
    ++hold_count_;
  }
  const absl::Status status = body();
  const absl::MutexLock lock(&files_mutex_);
  --hold_count_;
  return status;
}

absl::StatusOr<std::vector<UnnamedArtifact>> ArtifactStore::RemoveUnnamed(
    std::vector<UnnamedArtifact> candidates, absl::Time stored_before,
    bool dry_run) {
  const auto path_of = [this](const UnnamedArtifact& artifact) {
    return PathOf(
        absl::string_view(artifact.name).substr(kArtifactPrefix.size()));
  };
  const absl::MutexLock lock(&files_mutex_);
  if (hold_count_ > 0) return std::vector<UnnamedArtifact>();
  std::erase_if(candidates, [&](const UnnamedArtifact& artifact) {
    return FactsOf(path_of(artifact)).stored >= stored_before;
  });
  if (dry_run || candidates.empty()) return candidates;
  ASSIGN_OR_RETURN(std::vector<UnnamedArtifact> removed,
                   index_.RemoveUnnamed(candidates));
  // A file that stays, whatever the reason, has no row: the next time.
  for (const UnnamedArtifact& artifact : removed) {
    ::unlink(path_of(artifact).c_str());
  }
  return removed;
}

absl::StatusOr<ArtifactTotals> ArtifactStore::RemoveOrphans(
    absl::Span<const std::string> files, absl::Time stored_before,
    bool dry_run) {
  std::vector<std::string> names;
  for (const std::string& file : files) {
    names.push_back(absl::StrCat(kArtifactPrefix, file));
  }
  ArtifactTotals removed;
  // Most have one, which is seen without holding up those who store.
  ASSIGN_OR_RETURN(names, index_.Unknown(names));
  if (names.empty()) return removed;
  const absl::MutexLock lock(&files_mutex_);
  if (hold_count_ > 0) return ArtifactTotals();
  ASSIGN_OR_RETURN(names, index_.Unknown(names));
  for (const absl::string_view name : names) {
    const std::string path = PathOf(name.substr(kArtifactPrefix.size()));
    const FileFacts facts = FactsOf(path);
    if (facts.size_bytes < 0 || facts.stored >= stored_before) continue;
    if (!dry_run && ::unlink(path.c_str()) != 0) continue;
    ++removed.count;
    removed.bytes += facts.size_bytes;
  }
  return removed;
}

}  // namespace dissonance
