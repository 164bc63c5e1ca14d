#include "src/lab/storage/direction_store.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/artifact_index.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

absl::Status NoSuch(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat(name, " is not known here"));
}

bool Has(Connection& connection, absl::string_view sql,
         absl::string_view name) {
  Query query(connection, sql, name);
  return query.Next();
}

// As the table has it.
absl::string_view OwnerOf(const v1::Direction& direction) {
  return absl::StripPrefix(direction.owner(), "users/");
}

// Of one owner, or shared: each read by an index of its own.
constexpr char kListSeen[] =
    "SELECT direction FROM (SELECT name, direction FROM (SELECT name, direction"
    "   FROM directions WHERE owner = ?1 AND name > ?2 ORDER BY name LIMIT ?3)"
    " UNION SELECT name, direction FROM (SELECT name, direction"
    "   FROM directions INDEXED BY directions_shared"
    "   WHERE shared != 0 AND name > ?2 ORDER BY name LIMIT ?3))"
    " ORDER BY name LIMIT ?3";
constexpr char kListAll[] =
    "SELECT direction FROM directions WHERE name > ? ORDER BY name LIMIT ?";

void ReadAll(Query& query, std::vector<v1::Direction>& directions) {
  while (query.Next()) {
    directions.emplace_back().ParseFromString(query.Bytes(0));
  }
}

}  // namespace

absl::Status DirectionStore::Create(const v1::Direction& direction) {
  v1::Direction stored = direction;
  stored.clear_vectors();
  const std::string bytes = stored.SerializeAsString();
  return database_.Write([&](Connection& connection) {
    if (Has(connection, "SELECT 1 FROM directions WHERE name = ?",
            direction.name())) {
      return absl::AlreadyExistsError(
          absl::StrCat("the name ", direction.name(),
                       " is taken: choose another, or delete what has it"));
    }
    if (!Has(connection, "SELECT 1 FROM artifacts WHERE name = ?",
             direction.artifact())) {
      return ArtifactIndex::NoSuchArtifact(direction.artifact());
    }
    Query(connection,
          "INSERT INTO directions (name, owner, shared, artifact, direction)"
          " VALUES (?, ?, ?, ?, ?)",
          direction.name(), OwnerOf(direction), int32_t{direction.shared()},
          direction.artifact(), Blob{bytes})
        .Run();
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Direction> DirectionStore::Get(absl::string_view name) {
  v1::Direction direction;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, "SELECT direction FROM directions WHERE name = ?",
                name);
    if (!query.Next()) return NoSuch(name);
    direction.ParseFromString(query.Bytes(0));
    return absl::OkStatus();
  }));
  return direction;
}

absl::StatusOr<std::vector<v1::Direction>> DirectionStore::List(
    const Viewer& viewer, absl::string_view after, int limit) {
  std::vector<v1::Direction> directions;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    if (viewer.sees_all) {
      Query all(connection, kListAll, after, limit);
      ReadAll(all, directions);
    } else {
      Query seen(connection, kListSeen, viewer.user, after, limit);
      ReadAll(seen, directions);
    }
    return absl::OkStatus();
  }));
  return directions;
}

absl::Status DirectionStore::Delete(const v1::Direction& direction) {
  return database_.Write([&](Connection& connection) {
    Query query(connection,
                "DELETE FROM directions"
                " WHERE name = ? AND artifact = ? AND owner = ?",
                direction.name(), direction.artifact(), OwnerOf(direction));
    return query.Run() == 0 ? NoSuch(direction.name()) : absl::OkStatus();
  });
}

}  // namespace dissonance
