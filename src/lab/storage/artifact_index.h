// What is known of each artifact; ArtifactStore keeps the bytes. Thread safe.
// Borrows the database.
#ifndef DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_
#define DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/lab/storage/database.h"

namespace dissonance {

// An artifact and its place among all, which grows with every new one.
struct IndexedArtifact {
  v1::Artifact artifact;
  int64_t sequence = 0;
};

class ArtifactIndex {
 public:
  explicit ArtifactIndex(Database& database) : database_(database) {}

  // Durably adds a row. Where the name is known the first row stays; either
  // way the stored row is returned. REQUIRES: the bytes are durable.
  absl::StatusOr<v1::Artifact> Insert(const v1::Artifact& artifact);
  // NOT_FOUND if unknown.
  absl::StatusOr<v1::Artifact> Get(absl::string_view name);
  // Newest first, at most `limit`, those with a sequence below `before` (0:
  // from the newest).
  absl::StatusOr<std::vector<IndexedArtifact>> List(int64_t before, int limit);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_ARTIFACT_INDEX_H_
