// The SQL of JobStore and how its rows become messages. Private to this
// folder and to the test that checks that the queries use their indices. Not
// thread safe: works on one connection.
#ifndef DISSONANCE_LAB_STORAGE_JOB_ROWS_H_
#define DISSONANCE_LAB_STORAGE_JOB_ROWS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

// Parameters: [owner,] [state,] before, limit.
std::string ListJobsSql(bool by_owner, bool by_state);

// A user's queued jobs of a priority and a place, oldest first. Parameters:
// owner, priority, place.
inline constexpr absl::string_view kQueueSql =
    "SELECT name, queue_time FROM jobs INDEXED BY jobs_queue"
    " WHERE state = 1 AND owner = ? AND priority = ? AND place = ?"
    " ORDER BY name";

// Those who have queued jobs: one step of the index for each, however many
// jobs they have.
inline constexpr absl::string_view kQueueOwnersSql =
    "WITH RECURSIVE owners (owner) AS ("
    " SELECT min(owner) FROM jobs INDEXED BY jobs_queue WHERE state = 1"
    " UNION ALL SELECT (SELECT min(owner) FROM jobs INDEXED BY jobs_queue"
    "  WHERE state = 1 AND owner > owners.owner)"
    " FROM owners WHERE owner IS NOT NULL)"
    " SELECT owner FROM owners WHERE owner IS NOT NULL";

// QUEUED, WAITING and PAUSED. Parameter: owner.
inline constexpr absl::string_view kPendingCountSql =
    "SELECT count(*) FROM jobs INDEXED BY jobs_by_owner_and_state"
    " WHERE owner = ? AND state IN (1, 2, 9)";

// Parameters: owner, request_id.
inline constexpr absl::string_view kFindByRequestSql =
    "SELECT name FROM jobs WHERE owner = ? AND request_id = ?";

// Parameter: state.
inline constexpr absl::string_view kNamesInStateSql =
    "SELECT name FROM jobs WHERE state = ? ORDER BY name";

// The job in the row that `query`, from ListJobsSql or ReadJob's own SQL, is
// at; outputs, full spec and config_toml are not part of it.
StoredJob JobOfRow(const Query& query);

// A job with its outputs. NOT_FOUND.
absl::StatusOr<StoredJob> ReadJob(Connection& connection,
                                  absl::string_view name, JobStore::Spec spec);
void ReadOutputs(Connection& connection, v1::Job& job);

// QUEUED and PAUSED, so that pausing makes no room for more. Parameter: owner.
inline constexpr absl::string_view kInteractiveCountSql =
    "SELECT (SELECT count(*) FROM jobs INDEXED BY jobs_queue"
    "  WHERE state = 1 AND owner = ?1 AND priority = 1)"
    " + (SELECT count(*) FROM jobs INDEXED BY jobs_by_owner_and_state"
    "  WHERE owner = ?1 AND state = 9 AND priority = 1)";

// Inserts a job, its spec, its configuration and what it depends on.
void InsertJob(Connection& connection, const StoredJob& stored);
// Writes back what JobChange says is written back.
void UpdateJob(Connection& connection, const StoredJob& stored);
void InsertEvent(Connection& connection, absl::string_view name,
                 const v1::JobEvent& event);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_JOB_ROWS_H_
