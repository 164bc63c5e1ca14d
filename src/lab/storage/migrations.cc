#include "src/lab/storage/migrations.h"

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

// Times are microseconds since 1970; states and priorities are the numbers of
// the protocol's enums. What a list shows is apart from what is bulky.
constexpr char kFirstSchema[] = R"sql(
CREATE TABLE jobs (
  name TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  request_id TEXT,
  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
  priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 3),
  reason TEXT NOT NULL,
  attempt_count INTEGER NOT NULL,
  lost_count INTEGER NOT NULL,
  done_count INTEGER NOT NULL,
  total_count INTEGER NOT NULL,
  unit TEXT NOT NULL,
  rate REAL NOT NULL,
  create_time INTEGER NOT NULL,
  start_time INTEGER,
  end_time INTEGER,
  last_event_number INTEGER NOT NULL,
  spec_without_data BLOB NOT NULL,
  provenance BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_by_request ON jobs (owner, request_id)
  WHERE request_id IS NOT NULL;
CREATE INDEX jobs_by_owner ON jobs (owner, name);
CREATE INDEX jobs_by_state ON jobs (state, name);
CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, name);
CREATE INDEX jobs_queue ON jobs (priority, name) WHERE state = 1;

CREATE TABLE job_inputs (
  job TEXT NOT NULL PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
  spec BLOB NOT NULL,
  config_toml TEXT NOT NULL
) STRICT;

CREATE TABLE job_items (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
  item_index INTEGER NOT NULL,
  item BLOB NOT NULL,
  PRIMARY KEY (job, item_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_events (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
  number INTEGER NOT NULL,
  event BLOB NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
  sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL,
  media_type TEXT NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE job_outputs (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
  file_name TEXT NOT NULL,
  artifact TEXT NOT NULL REFERENCES artifacts (name),
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (job, file_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_outputs_by_artifact ON job_outputs (artifact);

CREATE TABLE models (
  name TEXT NOT NULL PRIMARY KEY,
  requested_dtype INTEGER NOT NULL,
  resident INTEGER NOT NULL,
  model BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE adapters (
  name TEXT NOT NULL PRIMARY KEY,
  model TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
  resident INTEGER NOT NULL,
  adapter BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX adapters_by_model ON adapters (model, name);

CREATE TABLE users (
  name TEXT NOT NULL PRIMARY KEY,
  create_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  digest TEXT NOT NULL PRIMARY KEY,
  user TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
  scope INTEGER NOT NULL CHECK (scope BETWEEN 1 AND 3),
  create_time INTEGER NOT NULL,
  expire_time INTEGER,
  revoke_time INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_user ON tokens (user);
)sql";

// Several users: what each may take and takes, whose artifacts are whose, and
// who changed what. What was there before is shared with the lab, as it was.
// Triggers keep users.artifact_bytes: a sum over a million rows takes too long
// to be asked at each upload.
constexpr char kUsersSchema[] = R"sql(
ALTER TABLE users ADD COLUMN quota BLOB NOT NULL DEFAULT x'';
ALTER TABLE users ADD COLUMN artifact_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN calls_per_second REAL NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN note TEXT NOT NULL DEFAULT '';

ALTER TABLE jobs ADD COLUMN replay_of TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN code_version TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN device_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN token_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN inputs BLOB NOT NULL DEFAULT x'';
ALTER TABLE jobs ADD COLUMN queue_time INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET queue_time = create_time;
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (owner, priority, name) WHERE state = 1;

CREATE TABLE job_dependencies (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
  depends_on TEXT NOT NULL,
  PRIMARY KEY (job, depends_on)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_dependents ON job_dependencies (depends_on, job);

CREATE TABLE job_artifacts (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
  artifact TEXT NOT NULL REFERENCES artifacts (name),
  PRIMARY KEY (job, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_artifacts_by_artifact ON job_artifacts (artifact);

ALTER TABLE job_outputs ADD COLUMN names_run INTEGER NOT NULL DEFAULT 0;
UPDATE job_outputs SET names_run = 1 WHERE file_name = 'manifest.json';

CREATE TABLE adapter_artifacts (
  adapter TEXT NOT NULL REFERENCES adapters ON DELETE CASCADE,
  artifact TEXT NOT NULL REFERENCES artifacts (name),
  PRIMARY KEY (adapter, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX adapter_artifacts_by_artifact ON adapter_artifacts (artifact);

CREATE TABLE artifact_owners (
  user TEXT NOT NULL,
  sequence INTEGER NOT NULL REFERENCES artifacts,
  visibility INTEGER NOT NULL CHECK (visibility BETWEEN 1 AND 2),
  pinned INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (user, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_owners_by_artifact ON artifact_owners (sequence);
CREATE INDEX artifact_owners_shared ON artifact_owners (sequence)
  WHERE visibility = 2;
CREATE TRIGGER artifact_owned AFTER INSERT ON artifact_owners BEGIN
  UPDATE users SET artifact_bytes = artifact_bytes +
    (SELECT size_bytes FROM artifacts WHERE sequence = NEW.sequence)
  WHERE name = NEW.user;
END;
CREATE TRIGGER artifact_given_up BEFORE DELETE ON artifact_owners BEGIN
  UPDATE users SET artifact_bytes = artifact_bytes -
    (SELECT size_bytes FROM artifacts WHERE sequence = OLD.sequence)
  WHERE name = OLD.user;
END;
INSERT INTO artifact_owners (user, sequence, visibility)
  SELECT DISTINCT jobs.owner, artifacts.sequence, 2
  FROM job_outputs JOIN jobs ON jobs.name = job_outputs.job
    JOIN artifacts ON artifacts.name = job_outputs.artifact;
INSERT INTO artifact_owners (user, sequence, visibility)
  SELECT 'owner', sequence, 2 FROM artifacts
  WHERE sequence NOT IN (SELECT sequence FROM artifact_owners);

CREATE TABLE usage (
  user TEXT NOT NULL,
  hour INTEGER NOT NULL,
  device_seconds REAL NOT NULL,
  token_count INTEGER NOT NULL,
  PRIMARY KEY (user, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_hour ON usage (hour);

CREATE TABLE audit (
  number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  user TEXT NOT NULL,
  token TEXT NOT NULL,
  method TEXT NOT NULL,
  resource TEXT NOT NULL,
  code TEXT NOT NULL,
  request_id TEXT NOT NULL,
  peer TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_user ON audit (user, number);

CREATE TABLE settings (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

// Jobs can be paused: two more states. SQLite changes no CHECK, but one goes
// with its column.
constexpr char kPausesSchema[] = R"sql(
DROP INDEX jobs_by_state;
DROP INDEX jobs_by_owner_and_state;
DROP INDEX jobs_queue;
ALTER TABLE jobs ADD COLUMN new_state INTEGER NOT NULL DEFAULT 1
  CHECK (new_state BETWEEN 1 AND 9);
UPDATE jobs SET new_state = state;
ALTER TABLE jobs DROP COLUMN state;
ALTER TABLE jobs RENAME COLUMN new_state TO state;
CREATE INDEX jobs_by_state ON jobs (state, name);
CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, name);
CREATE INDEX jobs_queue ON jobs (owner, priority, name) WHERE state = 1;
)sql";

// Directions by name. Their vectors are in an artifact, which they keep.
constexpr char kDirectionsSchema[] = R"sql(
CREATE TABLE directions (
  name TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  shared INTEGER NOT NULL,
  artifact TEXT NOT NULL REFERENCES artifacts (name),
  direction BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX directions_by_artifact ON directions (artifact);
CREATE INDEX directions_by_owner ON directions (owner, name);
CREATE INDEX directions_shared ON directions (name) WHERE shared != 0;
)sql";

// Jobs that use no device take places of their own; those that were queued
// before keep the device's.
constexpr char kPlacesSchema[] = R"sql(
ALTER TABLE jobs ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (owner, priority, place, name) WHERE state = 1;
)sql";

constexpr Migration kMigrations[] = {{.number = 1, .sql = kFirstSchema},
                                     {.number = 2, .sql = kUsersSchema},
                                     {.number = 3, .sql = kPausesSchema},
                                     {.number = 4, .sql = kDirectionsSchema},
                                     {.number = 5, .sql = kPlacesSchema}};

constexpr char kHistoryTable[] =
    "CREATE TABLE IF NOT EXISTS migrations ("
    " number INTEGER NOT NULL PRIMARY KEY,"
    " digest TEXT NOT NULL,"
    " apply_time INTEGER NOT NULL DEFAULT (unixepoch() * 1000000)"
    ") STRICT";

int64_t Pragma(Connection& connection, const std::string& name) {
  Query query(connection, "PRAGMA " + name);
  return query.Next() ? query.Int(0) : 0;
}

int64_t TableCount(Connection& connection) {
  Query query(connection, "SELECT count(*) FROM sqlite_schema");
  query.Next();
  return query.Int(0);
}

absl::Status CheckIntegrity(Connection& connection, const std::string& path) {
  Query query(connection, "PRAGMA quick_check(1)");
  if (query.Next() && query.Text(0) == "ok") return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("database ", path,
                                          " is damaged: ", query.Text(0), "; ",
                                          RecoveryAdvice(path)));
}

absl::Status CheckHistory(Connection& connection, const std::string& path,
                          absl::Span<const Migration> migrations) {
  const int64_t version = Pragma(connection, "user_version");
  Query query(connection,
              "SELECT number, digest FROM migrations ORDER BY number");
  for (int64_t number = 1; number <= version; ++number) {
    if (!query.Next() || query.Int(0) != number ||
        query.Text(1) !=
            Sha256Of(migrations[static_cast<size_t>(number - 1)].sql)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "database ", path, ": step ", number,
          " of its schema is not the one of this release (a development "
          "build made it?); start the build that made it, or use another "
          "--data-dir"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Span<const Migration> Migrations() { return kMigrations; }

absl::Status CheckSchema(Connection& connection, const std::string& path,
                         absl::Span<const Migration> migrations,
                         bool allow_upgrade) {
  const int64_t application = Pragma(connection, "application_id");
  const int64_t version = Pragma(connection, "user_version");
  const int64_t newest = static_cast<int64_t>(migrations.size());
  if (application == 0 && version == 0 && TableCount(connection) == 0) {
    return absl::OkStatus();
  }
  if (application != kApplicationId) {
    return absl::FailedPreconditionError(absl::StrCat(
        "database ", path, " belongs to another program (application id ",
        application, "); it was left alone: use another --data-dir"));
  }
  if (version > newest) {
    return absl::FailedPreconditionError(
        absl::StrCat("database ", path, " has schema version ", version,
                     ", made by a newer release; this one knows ", newest,
                     ": start the newer release, or use another --data-dir"));
  }
  RETURN_IF_ERROR(CheckIntegrity(connection, path));
  RETURN_IF_ERROR(CheckHistory(connection, path, migrations));
  if (version < newest && !allow_upgrade) {
    return absl::FailedPreconditionError(
        absl::StrCat("database ", path, " has schema version ", version,
                     ", made by an older release; this one needs ", newest,
                     ": copy the folder, then start with --upgrade-database"));
  }
  return absl::OkStatus();
}

void ApplyMigrations(Connection& connection,
                     absl::Span<const Migration> migrations) {
  const int64_t version = Pragma(connection, "user_version");
  if (version == std::ssize(migrations)) return;
  // All in one: what a crash leaves is the database as it was, and of a new
  // one nothing that looks like an older release's.
  connection.Execute("BEGIN IMMEDIATE");
  connection.Execute(kHistoryTable);
  for (const Migration& migration : migrations) {
    if (migration.number <= version) continue;
    connection.Execute(migration.sql);
    Query(connection, "INSERT INTO migrations (number, digest) VALUES (?, ?)",
          migration.number, Sha256Of(migration.sql))
        .Run();
    connection.Execute(
        absl::StrCat("PRAGMA user_version = ", migration.number));
  }
  connection.Execute(absl::StrCat("PRAGMA application_id = ", kApplicationId));
  connection.Execute("COMMIT");
}

}  // namespace dissonance
