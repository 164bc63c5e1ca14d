// Immutable files named by the SHA-256 of their bytes, in
// <data_dir>/artifacts/<first 2 hex>/<64 hex>. The bytes are durable before
// the row says so, and the row goes before the bytes do; a file without a row
// (a crash in between) is harmless and is taken over by the next Put of the
// same bytes, or collected. A file's modification time is when its bytes were
// last stored. Thread safe. Borrows the index and the clock.
//
//   ASSIGN_OR_RETURN(v1::Artifact artifact,
//                    store->Put(report, "application/json", {.user = "ada"}));
//   ASSIGN_OR_RETURN(ArtifactReader reader,
//                    store->Open(artifact.name(), {.user = "ada"}));
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/base/clock.h"
#include "src/lab/artifacts/artifact_reader.h"
#include "src/lab/storage/artifact_index.h"

namespace dissonance {

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

  // Stores the bytes durably; from now on they are the owner's too. The same
  // bytes again give the same artifact, with the media type of the first time,
  // and repair a damaged file. RESOURCE_EXHAUSTED with path and size when the
  // disk is full, and as ArtifactIndex::Add does.
  absl::StatusOr<v1::Artifact> Put(absl::string_view bytes,
                                   absl::string_view media_type,
                                   const ArtifactOwner& owner);
  // The same for a file, which is moved into the store: name, size_bytes and
  // media_type of `artifact` say what it is. REQUIRES: its bytes are durable
  // and match the name.
  absl::StatusOr<v1::Artifact> Adopt(const std::string& path,
                                     const v1::Artifact& artifact,
                                     const ArtifactOwner& owner);

  // INVALID_ARGUMENT unless `name` is "artifacts/sha256:" and 64 lower-case
  // hex digits; NOT_FOUND if unknown or hidden from the viewer. Here and below.
  absl::StatusOr<v1::Artifact> Get(absl::string_view name,
                                   const Viewer& viewer);
  // Whether the viewer owns it and the file has its size.
  bool Has(absl::string_view name, const Viewer& viewer);

  // page_size 0: 100, at most 1000. INVALID_ARGUMENT if it is negative or the
  // token is not one of ours.
  absl::StatusOr<ArtifactPage> List(const Viewer& viewer, int page_size,
                                    absl::string_view page_token);

  // Opens the bytes after reading all of them once, in pieces, against the
  // digest. DATA_LOSS if they differ or are gone. Without a viewer: for the
  // server itself, where who asked was checked before.
  absl::StatusOr<ArtifactReader> Open(absl::string_view name,
                                      const Viewer& viewer);
  absl::StatusOr<ArtifactReader> Open(absl::string_view name);
  // Puts the bytes, checked as by Open, at `path`, which is new: as a link to
  // the same file, or a copy on another file system. Not to be written to.
  absl::Status Export(absl::string_view name, const Viewer& viewer,
                      const std::string& path);

  // The bytes count as stored now, so that garbage collection leaves whoever
  // is about to name the artifact the time to do it.
  absl::Status Keep(absl::string_view name);

  // As ArtifactIndex has it. INVALID_ARGUMENT for an unknown visibility.
  absl::StatusOr<v1::Artifact> Update(absl::string_view name,
                                      const Viewer& viewer,
                                      const ArtifactUpdate& update);
  absl::Status Delete(absl::string_view name, const Viewer& viewer);

  // For garbage collection. Removes those of the candidates, at most
  // ArtifactIndex::kBatch, that nothing keeps and whose bytes were last stored
  // before `stored_before`; returns them. A dry run only returns them.
  absl::StatusOr<std::vector<UnnamedArtifact>> RemoveUnnamed(
      std::vector<UnnamedArtifact> candidates, absl::Time stored_before,
      bool dry_run);
  // The same for files that have no row, also not one under way; given by their
  // names in the store.
  absl::StatusOr<ArtifactTotals> RemoveOrphans(
      absl::Span<const std::string> files, absl::Time stored_before,
      bool dry_run);
  // Runs `body`, e.g. a backup, while no file is removed: what is deleted then
  // loses its row alone, and its file to a later collection.
  absl::Status WithoutRemovals(absl::FunctionRef<absl::Status()> body);
  const std::string& directory() const { return directory_; }

 private:
  ArtifactStore(std::string directory, ArtifactIndex& index,
                const Clock& clock);

  std::string PathOf(absl::string_view hex) const;
  // As Open, but a removal meanwhile may look like damage. Under files_mutex_
  // there is none.
  absl::StatusOr<ArtifactReader> OpenOnce(absl::string_view name,
                                          const Viewer& viewer);
  // Runs `place`, which puts the file at the path it is given, and adds the
  // row. If that fails no new file is left.
  absl::StatusOr<v1::Artifact> Store(
      v1::Artifact artifact, const ArtifactOwner& owner,
      absl::FunctionRef<absl::Status(const std::string& path)> place);

  const std::string directory_;
  ArtifactIndex& index_;
  const Clock& clock_;
  // Held shared from the look at a file to the row that keeps it, exclusively
  // from the removal of a row to that of its file.
  absl::Mutex files_mutex_;
  // Bodies of WithoutRemovals that run.
  int hold_count_ ABSL_GUARDED_BY(files_mutex_) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_STORE_H_
