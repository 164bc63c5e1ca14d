#include "src/lab/storage/artifact_index.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/models.pb.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/artifact_rows.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

absl::StatusOr<IndexedArtifact> ReadArtifact(Connection& connection,
                                             absl::string_view name,
                                             const Viewer& viewer) {
  Query query(connection, FindArtifactSql(), viewer.user,
              int32_t{viewer.sees_all}, name);
  if (!query.Next()) return ArtifactIndex::NoSuchArtifact(name);
  IndexedArtifact found = {.artifact = ArtifactOfRow(query),
                           .sequence = query.Int(0)};
  const bool is_seen = viewer.sees_all || found.artifact.owned() ||
                       found.artifact.visibility() == v1::VISIBILITY_LAB;
  if (!is_seen) return ArtifactIndex::NoSuchArtifact(name);
  return found;
}

absl::Status CheckLimit(Connection& connection, int64_t size_bytes,
                        int64_t unfinished_bytes, const ArtifactOwner& owner) {
  if (owner.limit_bytes <= 0) return absl::OkStatus();
  Query query(connection, "SELECT artifact_bytes FROM users WHERE name = ?",
              owner.user);
  const int64_t has = (query.Next() ? query.Int(0) : 0) + unfinished_bytes;
  // Without a sum, which a client's size could make overflow.
  if (size_bytes <= owner.limit_bytes - has) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "users/", owner.user, " has ", has, " bytes of artifacts and uploads, ",
      "asks for ", size_bytes, " more, and may have ", owner.limit_bytes,
      ": delete artifacts, or ask an administrator for a larger quota"));
}

bool IsOwned(Connection& connection, absl::string_view name,
             absl::string_view user) {
  Query query(connection,
              "SELECT 1 FROM artifacts AS a CROSS JOIN artifact_owners AS o"
              " ON o.sequence = a.sequence WHERE a.name = ? AND o.user = ?",
              name, user);
  return query.Next();
}

absl::Status NotYours(absl::string_view name) {
  return absl::PermissionDeniedError(
      absl::StrCat(name,
                   " is shared with you and not yours to change; ask who "
                   "shared it, or store the bytes to own it too"));
}

// A job, an adapter or a direction of the user's that names the artifact; empty
// if none.
std::string NamedBy(Connection& connection, absl::string_view name,
                    const std::string& user) {
  Query job(connection, kJobOfArtifactSql, name, user);
  if (job.Next()) return job.Text(0);
  Query adapters(connection,
                 "SELECT adapters.name, adapters.adapter FROM adapter_artifacts"
                 " CROSS JOIN adapters"
                 " ON adapters.name = adapter_artifacts.adapter"
                 " WHERE adapter_artifacts.artifact = ?",
                 name);
  while (adapters.Next()) {
    v1::Adapter adapter;
    adapter.ParseFromString(adapters.Bytes(1));
    if (adapter.owner() == absl::StrCat("users/", user)) {
      return adapters.Text(0);
    }
  }
  Query direction(connection,
                  "SELECT name FROM directions WHERE artifact = ? AND owner = ?"
                  " LIMIT 1",
                  name, user);
  return direction.Next() ? direction.Text(0) : "";
}

// Removes the artifact's row if nothing keeps it and nobody owns it.
bool RemoveIfAbandoned(Connection& connection, int64_t sequence) {
  return Query(connection,
               absl::StrCat("DELETE FROM artifacts AS a WHERE a.sequence = ?"
                            " AND NOT EXISTS (SELECT 1 FROM artifact_owners"
                            "   WHERE sequence = a.sequence) AND",
                            kIsUnnamed),
               sequence)
             .Run() > 0;
}

}  // namespace

absl::Status ArtifactIndex::NoSuchArtifact(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat(name, " does not exist; ListArtifacts names those that do"));
}

absl::StatusOr<v1::Artifact> ArtifactIndex::Add(const v1::Artifact& artifact,
                                                const ArtifactOwner& owner) {
  IndexedArtifact stored;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    Query(connection,
          "INSERT INTO artifacts (name, size_bytes, media_type, create_time)"
          " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
          artifact.name(), int64_t{artifact.size_bytes()},
          artifact.media_type(),
          int64_t{TimeUtil::TimestampToMicroseconds(artifact.create_time())})
        .Run();
    if (!IsOwned(connection, artifact.name(), owner.user)) {
      RETURN_IF_ERROR(CheckLimit(connection, artifact.size_bytes(),
                                 /*unfinished_bytes=*/0, owner));
      Query(connection,
            "INSERT INTO artifact_owners (user, sequence, visibility)"
            " SELECT ?, sequence, ? FROM artifacts WHERE name = ?",
            owner.user, int32_t{v1::VISIBILITY_PRIVATE}, artifact.name())
          .Run();
    }
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, artifact.name(),
                                          {.user = owner.user}));
    return absl::OkStatus();
  }));
  return std::move(stored.artifact);
}

absl::Status ArtifactIndex::CheckRoom(absl::string_view name,
                                      int64_t size_bytes,
                                      int64_t unfinished_bytes,
                                      const ArtifactOwner& owner) {
  return database_.Read([&](Connection& connection) {
    if (IsOwned(connection, name, owner.user)) return absl::OkStatus();
    return CheckLimit(connection, size_bytes, unfinished_bytes, owner);
  });
}

absl::StatusOr<v1::Artifact> ArtifactIndex::Get(absl::string_view name,
                                                const Viewer& viewer) {
  IndexedArtifact stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, name, viewer));
    return absl::OkStatus();
  }));
  return std::move(stored.artifact);
}

absl::StatusOr<std::vector<IndexedArtifact>> ArtifactIndex::List(
    const Viewer& viewer, int64_t before, int limit) {
  if (before <= 0) before = std::numeric_limits<int64_t>::max();
  std::vector<IndexedArtifact> artifacts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, ListArtifactsSql(viewer.sees_all), viewer.user,
                int32_t{viewer.sees_all}, before, limit);
    while (query.Next()) {
      artifacts.push_back(
          {.artifact = ArtifactOfRow(query), .sequence = query.Int(0)});
    }
    return absl::OkStatus();
  }));
  return artifacts;
}

absl::StatusOr<v1::Artifact> ArtifactIndex::Update(
    absl::string_view name, const Viewer& viewer,
    const ArtifactUpdate& update) {
  IndexedArtifact stored;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, name, viewer));
    const bool is_owned = stored.artifact.owned();
    if (!is_owned && !viewer.sees_all) return NotYours(name);
    const int changed =
        Query(connection,
              "UPDATE artifact_owners SET"
              " visibility = CASE WHEN ?1 = 0 THEN visibility ELSE ?1 END,"
              " pinned = CASE WHEN ?2 < 0 THEN pinned ELSE ?2 END"
              " WHERE sequence = ?3 AND (user = ?4 OR ?5)",
              static_cast<int32_t>(update.visibility),
              update.pinned.has_value() ? int32_t{*update.pinned} : -1,
              stored.sequence, viewer.user, int32_t{!is_owned})
            .Run();
    if (changed == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(name,
                       " has no owner any more; store the bytes to own it, "
                       "then change it"));
    }
    ASSIGN_OR_RETURN(stored, ReadArtifact(connection, name, viewer));
    return absl::OkStatus();
  }));
  return std::move(stored.artifact);
}

absl::StatusOr<bool> ArtifactIndex::GiveUp(absl::string_view name,
                                           const Viewer& viewer) {
  bool is_gone = false;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const IndexedArtifact stored,
                     ReadArtifact(connection, name, viewer));
    if (!stored.artifact.owned()) return NotYours(name);
    const std::string naming = NamedBy(connection, name, viewer.user);
    if (!naming.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat(name, " is in use by ", naming, "; delete that first"));
    }
    Query(connection,
          "DELETE FROM artifact_owners WHERE user = ? AND sequence = ?",
          viewer.user, stored.sequence)
        .Run();
    is_gone = RemoveIfAbandoned(connection, stored.sequence);
    return absl::OkStatus();
  }));
  return is_gone;
}

absl::StatusOr<ArtifactTotals> ArtifactIndex::Totals() {
  ArtifactTotals totals;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT count(*), coalesce(sum(size_bytes), 0) FROM artifacts");
    query.Next();
    totals = {.count = query.Int(0), .bytes = query.Int(1)};
    return absl::OkStatus();
  }));
  return totals;
}

absl::StatusOr<std::vector<UnnamedArtifact>> ArtifactIndex::ListUnnamed(
    int64_t after, int limit) {
  std::vector<UnnamedArtifact> artifacts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, UnnamedArtifactsSql(), after, limit);
    while (query.Next()) {
      artifacts.push_back({.sequence = query.Int(0),
                           .name = query.Text(1),
                           .size_bytes = query.Int(2),
                           .create_time = *query.Time(3)});
    }
    return absl::OkStatus();
  }));
  return artifacts;
}

absl::StatusOr<std::vector<UnnamedArtifact>> ArtifactIndex::RemoveUnnamed(
    absl::Span<const UnnamedArtifact> candidates) {
  const std::string give_up = absl::StrCat(
      "DELETE FROM artifact_owners WHERE sequence = ?1 AND EXISTS"
      " (SELECT 1 FROM artifacts AS a WHERE a.sequence = ?1 AND",
      kIsUnnamed, ")");
  std::vector<UnnamedArtifact> removed;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) {
    for (const UnnamedArtifact& artifact : candidates) {
      Query(connection, give_up, artifact.sequence).Run();
      if (RemoveIfAbandoned(connection, artifact.sequence)) {
        removed.push_back(artifact);
      }
    }
    return absl::OkStatus();
  }));
  return removed;
}

absl::StatusOr<std::vector<std::string>> ArtifactIndex::Unknown(
    absl::Span<const std::string> names) {
  std::vector<std::string> unknown;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    for (const std::string& name : names) {
      Query query(connection, "SELECT 1 FROM artifacts WHERE name = ?", name);
      if (!query.Next()) unknown.push_back(name);
    }
    return absl::OkStatus();
  }));
  return unknown;
}

}  // namespace dissonance
