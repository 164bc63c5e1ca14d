// What is known of each artifact: whose it is, who sees it and what names it.
// ArtifactStore keeps the bytes. Thread safe. Borrows the database.
//
//   ASSIGN_OR_RETURN(v1::Artifact stored,
//                    index.Add(artifact, {.user = "ada"}));
//   ASSIGN_OR_RETURN(v1::Artifact seen, index.Get(name, {.user = "bob"}));
#ifndef DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_
#define DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

// Whose new bytes are, and how much of them the user may have.
struct ArtifactOwner {
  std::string user = {};    // as in Viewer
  int64_t limit_bytes = 0;  // of all artifacts of the user; 0: no limit
};

// An artifact and its place among all, which grows with every new one.
struct IndexedArtifact {
  v1::Artifact artifact = {};
  int64_t sequence = 0;
};

// What is to change of an artifact.
struct ArtifactUpdate {
  v1::Visibility visibility = v1::VISIBILITY_UNSPECIFIED;  // stays
  std::optional<bool> pinned = std::nullopt;
};

// An artifact that nothing keeps.
struct UnnamedArtifact {
  int64_t sequence = 0;
  std::string name = {};
  int64_t size_bytes = 0;
  absl::Time create_time = {};
};

struct ArtifactTotals {
  int64_t count = 0;
  int64_t bytes = 0;
};

class ArtifactIndex {
 public:
  // Rows that one transaction changes at most, so that other writers wait for
  // milliseconds only.
  static constexpr int kBatch = 1000;

  explicit ArtifactIndex(Database& database) : database_(database) {}

  // NOT_FOUND, worded the same wherever an artifact is unknown or hidden.
  static absl::Status NoSuchArtifact(absl::string_view name);

  // Durably adds a row, unless the name is known: then the first row stays.
  // Either way the user owns it from now on, privately if it is new to the
  // user, and the row is returned as the user sees it. RESOURCE_EXHAUSTED, and
  // nothing is added, if that takes the user beyond the limit.
  // REQUIRES: the bytes are durable.
  absl::StatusOr<v1::Artifact> Add(const v1::Artifact& artifact,
                                   const ArtifactOwner& owner);
  // RESOURCE_EXHAUSTED if Add would refuse now, if the user had
  // `unfinished_bytes` more than the artifacts.
  absl::Status CheckRoom(absl::string_view name, int64_t size_bytes,
                         int64_t unfinished_bytes, const ArtifactOwner& owner);

  // Seen by its owners and administrators, and by all once an owner shares it;
  // NOT_FOUND else.
  absl::StatusOr<v1::Artifact> Get(absl::string_view name,
                                   const Viewer& viewer);
  // Those that the viewer sees, newest first, at most `limit`, with a sequence
  // below `before` (0: from the newest).
  absl::StatusOr<std::vector<IndexedArtifact>> List(const Viewer& viewer,
                                                    int64_t before, int limit);

  // Changes the viewer's own row; an administrator who has none changes those
  // of all owners. PERMISSION_DENIED for what is only shared with the viewer.
  absl::StatusOr<v1::Artifact> Update(absl::string_view name,
                                      const Viewer& viewer,
                                      const ArtifactUpdate& update);
  // Ends the viewer's ownership. Returns whether the artifact is gone, because
  // nobody owns it and nothing names it. FAILED_PRECONDITION if a job, an
  // adapter or a direction of the viewer's does; PERMISSION_DENIED as above.
  absl::StatusOr<bool> GiveUp(absl::string_view name, const Viewer& viewer);

  // For garbage collection: all; what no job, adapter, direction or pin
  // keeps, oldest first, after `after`; and the removal of those of
  // `candidates`, at most kBatch, that nothing keeps now, which are returned.
  absl::StatusOr<ArtifactTotals> Totals();
  absl::StatusOr<std::vector<UnnamedArtifact>> ListUnnamed(int64_t after,
                                                           int limit);
  absl::StatusOr<std::vector<UnnamedArtifact>> RemoveUnnamed(
      absl::Span<const UnnamedArtifact> candidates);
  // Those of `names` that have no row.
  absl::StatusOr<std::vector<std::string>> Unknown(
      absl::Span<const std::string> names);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_
