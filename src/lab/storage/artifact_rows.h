// The SQL of ArtifactIndex. Private to this folder and to the test that checks
// that the queries use their indices.
#ifndef DISSONANCE_LAB_STORAGE_ARTIFACT_ROWS_H_
#define DISSONANCE_LAB_STORAGE_ARTIFACT_ROWS_H_

#include <string>

#include "dissonance/v1/artifacts.pb.h"
#include "src/lab/storage/connection.h"

namespace dissonance {

// Whether nothing keeps the artifact `a`: no job, no adapter, no direction,
// no pin.
inline constexpr char kIsUnnamed[] =
    " NOT EXISTS (SELECT 1 FROM job_outputs WHERE artifact = a.name)"
    " AND NOT EXISTS (SELECT 1 FROM job_artifacts WHERE artifact = a.name)"
    " AND NOT EXISTS (SELECT 1 FROM adapter_artifacts WHERE artifact = a.name)"
    " AND NOT EXISTS (SELECT 1 FROM directions WHERE artifact = a.name)"
    " AND NOT EXISTS (SELECT 1 FROM artifact_owners"
    "   WHERE sequence = a.sequence AND pinned != 0)";

// One artifact. Parameters: user, sees_all, name.
std::string FindArtifactSql();

// Newest first. Parameters: user, sees_all, before, limit. Of others' rows it
// reads the shared ones alone, and of each kind at most `limit`.
std::string ListArtifactsSql(bool sees_all);

// Those that nothing keeps, oldest first: sequence, name, size_bytes,
// create_time. Parameters: after, limit.
std::string UnnamedArtifactsSql();

// A job of a user's that names an artifact. Parameters: name, user.
inline constexpr char kJobOfArtifactSql[] =
    "SELECT job FROM (SELECT job FROM job_outputs WHERE artifact = ?1"
    "   UNION ALL SELECT job FROM job_artifacts WHERE artifact = ?1) AS naming"
    " CROSS JOIN jobs ON jobs.name = naming.job WHERE jobs.owner = ?2 LIMIT 1";

// The artifact of a row of FindArtifactSql or ListArtifactsSql, whose first
// column is its sequence.
v1::Artifact ArtifactOfRow(const Query& query);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_ARTIFACT_ROWS_H_
