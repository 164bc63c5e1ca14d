// Immutable files named by the SHA-256 of their bytes, in
// <data_dir>/artifacts/<first 2 hex>/<64 hex>. The bytes are durable before
// the row says so; a file without a row (a crash in between) is harmless and
// is taken over by the next Put of the same bytes. Thread safe. Borrows the
// index and the clock.
//
//   ASSIGN_OR_RETURN(v1::Artifact artifact,
//                    store->Put(report, "application/json"));
//   ASSIGN_OR_RETURN(ArtifactReader reader, store->Open(artifact.name()));
//   ASSIGN_OR_RETURN(std::string chunk, reader.Read(0, 1 << 20));
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/base/clock.h"
#include "src/lab/storage/artifact_index.h"

namespace dissonance {

// One artifact's bytes, already checked against its name. Reads are thread
// safe. Owns the open file, so it outlives a removal from the disk.
class ArtifactReader {
 public:
  ~ArtifactReader();
  ArtifactReader(ArtifactReader&& other) noexcept;
  ArtifactReader& operator=(ArtifactReader&& other) noexcept;

  const v1::Artifact& artifact() const { return artifact_; }
  // Bytes [offset_bytes, offset_bytes + count_bytes), fewer at the end, none
  // past it. INVALID_ARGUMENT if either is negative.
  absl::StatusOr<std::string> Read(int64_t offset_bytes,
                                   int64_t count_bytes) const;

 private:
  friend class ArtifactStore;
  ArtifactReader(v1::Artifact artifact, std::string path, int fd);

  v1::Artifact artifact_;
  std::string path_;
  int fd_;
};

// A page of artifacts, newest first.
struct ArtifactPage {
  std::vector<v1::Artifact> artifacts;
  std::string next_page_token;  // empty on the last page
};

class ArtifactStore {
 public:
  // Makes <data_dir>/artifacts if it is missing.
  static absl::StatusOr<std::unique_ptr<ArtifactStore>> Create(
      const std::string& data_dir, ArtifactIndex& index, const Clock& clock);

  // Stores the bytes durably. The same bytes again give the same artifact,
  // with the media type of the first time, and repair a damaged file.
  // RESOURCE_EXHAUSTED with path and size when the disk is full.
  absl::StatusOr<v1::Artifact> Put(absl::string_view bytes,
                                   absl::string_view media_type);

  // INVALID_ARGUMENT unless `name` is "artifacts/sha256:" and 64 lower-case
  // hex digits, here and in Open; NOT_FOUND if unknown.
  absl::StatusOr<v1::Artifact> Get(absl::string_view name);

  // page_size 0: 100, at most 1000. INVALID_ARGUMENT if it is negative or the
  // token is not one of ours.
  absl::StatusOr<ArtifactPage> List(int page_size,
                                    absl::string_view page_token);

  // Opens the bytes after reading all of them once, in pieces, against the
  // digest. DATA_LOSS if they differ or are gone.
  absl::StatusOr<ArtifactReader> Open(absl::string_view name);

 private:
  ArtifactStore(std::string directory, ArtifactIndex& index,
                const Clock& clock);

  std::string PathOf(absl::string_view hex) const;

  const std::string directory_;
  ArtifactIndex& index_;
  const Clock& clock_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_
