// Bytes that come in pieces, over calls that may break. What is there lies in
// <data_dir>/uploads/<user>-<64 hex>.part and goes on from there, also after a
// restart; it becomes an artifact once all is there and matches its name.
// ArtifactUploads is thread safe, an upload belongs to one thread at a time
// and must not outlive it. Borrows the store.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<ArtifactUpload> upload,
//                    uploads->Begin(first, {.user = "ada"}));
//   RETURN_IF_ERROR(upload->Append(first.offset_bytes(), first.data()));
//   ...
//   ASSIGN_OR_RETURN(v1::Artifact artifact, upload->Finish());
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_UPLOADS_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_UPLOADS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/base/sha256.h"
#include "src/lab/artifacts/artifact_store.h"

namespace dissonance {

class ArtifactUploads;

// One call's upload. Going away before Finish leaves what came, to go on with.
class ArtifactUpload {
 public:
  // Of one piece.
  static constexpr size_t kMaxPieceBytes = 4 << 20;

  ~ArtifactUpload();
  ArtifactUpload(const ArtifactUpload&) = delete;
  ArtifactUpload& operator=(const ArtifactUpload&) = delete;

  // OUT_OF_RANGE, with the offset that is expected, unless the piece follows
  // the ones before; INVALID_ARGUMENT for a piece that is too long or reaches
  // past the size. RESOURCE_EXHAUSTED, with path and bytes, on a full disk,
  // which gets back what the upload took.
  absl::Status Append(int64_t offset_bytes, absl::string_view data);

  // The artifact, durable. INVALID_ARGUMENT if bytes are missing, or if the
  // digest differs: then nothing of the upload is left. Else fails as
  // ArtifactStore::Put does. Call once, last.
  absl::StatusOr<v1::Artifact> Finish();

 private:
  friend class ArtifactUploads;
  ArtifactUpload(ArtifactUploads& uploads, v1::Artifact artifact,
                 ArtifactOwner owner, std::string hex);

  // Opens the part at `offset_bytes` and reads what is before it.
  absl::Status Open(int64_t offset_bytes);
  absl::Status ReadPart();

  ArtifactUploads& uploads_;
  const v1::Artifact artifact_;  // name, size, media type
  const ArtifactOwner owner_;
  const std::string hex_;
  const std::string path_;
  int fd_ = -1;
  int64_t received_bytes_ = 0;
  Sha256 digest_;
};

class ArtifactUploads {
 public:
  // How long a part that nobody goes on with is kept.
  static constexpr absl::Duration kPartLifetime = absl::Hours(24);
  // Of one user at a time: each holds a file open.
  static constexpr size_t kMaxPerUser = 16;

  struct Options {
    int64_t max_upload_bytes = int64_t{64} << 30;
  };

  // Makes <data_dir>/uploads if it is missing.
  static absl::StatusOr<std::unique_ptr<ArtifactUploads>> Create(
      const std::string& data_dir, ArtifactStore& store, ArtifactIndex& index,
      const Options& options);
  static absl::StatusOr<std::unique_ptr<ArtifactUploads>> Create(
      const std::string& data_dir, ArtifactStore& store, ArtifactIndex& index) {
    return Create(data_dir, store, index, {});
  }

  // Begins an upload, at offset 0 anew, or goes on with the one that broke, at
  // the offset that Find gives; `first` is a call's first message, its data is
  // yet to be appended. Reads what is there, which takes as long as the disk
  // does. INVALID_ARGUMENT for a bad name, size or user; OUT_OF_RANGE as by
  // Append; ABORTED while the user uploads the same elsewhere;
  // RESOURCE_EXHAUSTED beyond max_upload_bytes, kMaxPerUser, or the owner's
  // limit, for which the user's unfinished uploads count too.
  absl::StatusOr<std::unique_ptr<ArtifactUpload>> Begin(
      const v1::WriteArtifactRequest& first, const ArtifactOwner& owner);

  // What is there of the user's upload. INVALID_ARGUMENT for a bad name.
  absl::StatusOr<v1::GetUploadResponse> Find(absl::string_view user,
                                             absl::string_view name) const;

  // Removes parts that were last written to kPartLifetime before `now`.
  // Returns what they were; a dry run only does that.
  absl::StatusOr<ArtifactTotals> RemoveOld(absl::Time now, bool dry_run);

 private:
  friend class ArtifactUpload;
  ArtifactUploads(std::string directory, ArtifactStore& store,
                  ArtifactIndex& index, const Options& options);

  std::string PathOf(absl::string_view user, absl::string_view hex) const;
  absl::Status Claim(const std::string& user, const std::string& hex)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(const std::string& user, const std::string& hex)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Bytes of the user's parts but that of `hex`.
  int64_t UnfinishedBytes(absl::string_view user, absl::string_view hex) const;

  const std::string directory_;
  ArtifactStore& store_;
  ArtifactIndex& index_;
  const Options options_;
  absl::Mutex mutex_;
  // User to the digits of what is under way.
  std::map<std::string, std::set<std::string>> active_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_UPLOADS_H_
