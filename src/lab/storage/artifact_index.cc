#include "src/lab/storage/artifact_index.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

IndexedArtifact ArtifactOfRow(const Query& query) {
  IndexedArtifact indexed;
  indexed.sequence = query.Int(0);
  indexed.artifact.set_name(query.Text(1));
  indexed.artifact.set_size_bytes(query.Int(2));
  indexed.artifact.set_media_type(query.Text(3));
  *indexed.artifact.mutable_create_time() =
      TimeUtil::MicrosecondsToTimestamp(query.Int(4));
  return indexed;
}

absl::StatusOr<v1::Artifact> ReadArtifact(Connection& connection,
                                          absl::string_view name) {
  Query query(connection,
              "SELECT sequence, name, size_bytes, media_type, create_time"
              " FROM artifacts WHERE name = ?",
              name);
  if (query.Next()) return ArtifactOfRow(query).artifact;
  return absl::NotFoundError(
      absl::StrCat(name, " does not exist; ListArtifacts names those that do"));
}

}  // namespace

absl::StatusOr<v1::Artifact> ArtifactIndex::Insert(
    const v1::Artifact& artifact) {
  v1::Artifact stored;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    Query(connection,
          "INSERT INTO artifacts (name, size_bytes, media_type, create_time)"
          " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
          artifact.name(), int64_t{artifact.size_bytes()},
          artifact.media_type(),
          int64_t{TimeUtil::TimestampToMicroseconds(artifact.create_time())})
        .Run();
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, artifact.name()));
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<v1::Artifact> ArtifactIndex::Get(absl::string_view name) {
  v1::Artifact stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, name));
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::vector<IndexedArtifact>> ArtifactIndex::List(int64_t before,
                                                                 int limit) {
  if (before <= 0) before = std::numeric_limits<int64_t>::max();
  std::vector<IndexedArtifact> artifacts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT sequence, name, size_bytes, media_type, create_time"
                " FROM artifacts WHERE sequence < ?"
                " ORDER BY sequence DESC LIMIT ?",
                before, limit);
    while (query.Next()) artifacts.push_back(ArtifactOfRow(query));
    return absl::OkStatus();
  }));
  return artifacts;
}

}  // namespace dissonance
