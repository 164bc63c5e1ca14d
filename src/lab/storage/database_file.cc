#include "src/lab/storage/database_file.h"

#include <unistd.h>

#include <utility>

#include "SQLiteCpp/Exception.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/migrations.h"

namespace dissonance {
namespace {

constexpr size_t kMostLines = 20;

// Numbers of events begin at 1 and those of items at 0; both have no gaps. A
// job knows its last event.
constexpr char kEventGaps[] = R"sql(
SELECT jobs.name, jobs.last_event_number, count(number), min(number),
  max(number)
FROM jobs LEFT JOIN job_events ON job = jobs.name
GROUP BY jobs.name
HAVING count(number) != jobs.last_event_number
  OR coalesce(min(number), 1) != 1
  OR coalesce(max(number), 0) != jobs.last_event_number
)sql";
constexpr char kItemGaps[] = R"sql(
SELECT job, count(*), min(item_index), max(item_index) FROM job_items
GROUP BY job HAVING min(item_index) != 0 OR max(item_index) != count(*) - 1
)sql";

}  // namespace

DatabaseFile::DatabaseFile(std::string path,
                           std::unique_ptr<Connection> connection)
    : path_(std::move(path)), connection_(std::move(connection)) {}

DatabaseFile::~DatabaseFile() = default;

absl::StatusOr<std::unique_ptr<DatabaseFile>> DatabaseFile::Open(
    const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no database ", path));
  }
  try {
    return std::unique_ptr<DatabaseFile>(new DatabaseFile(
        path, std::make_unique<Connection>(path, Connection::Mode::kReader,
                                           absl::Seconds(5))));
  } catch (const SQLite::Exception& error) {
    return SqlStatus(error, path);
  }
}

absl::Status DatabaseFile::Run(
    absl::FunctionRef<absl::Status(Connection&)> body) {
  try {
    return body(*connection_);
  } catch (const SQLite::Exception& error) {
    return SqlStatus(error, path_);
  }
}

absl::StatusOr<int64_t> DatabaseFile::SchemaVersion() {
  int64_t version = 0;
  RETURN_IF_ERROR(Run([&version](Connection& connection) {
    Query query(connection, "PRAGMA user_version");
    if (query.Next()) version = query.Int(0);
    return absl::OkStatus();
  }));
  return version;
}

absl::Status DatabaseFile::CheckSchema(bool allow_older) {
  ASSIGN_OR_RETURN(const int64_t version, SchemaVersion());
  RETURN_IF_ERROR(Run([&](Connection& connection) {
    return dissonance::CheckSchema(connection, path_, Migrations(),
                                   allow_older);
  }));
  if (version > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("database ", path_, " is empty: nothing was ever recorded"));
}

absl::StatusOr<std::vector<StoredArtifact>> DatabaseFile::Artifacts() {
  std::vector<StoredArtifact> artifacts;
  RETURN_IF_ERROR(Run([&artifacts](Connection& connection) {
    Query query(connection,
                "SELECT name, size_bytes FROM artifacts ORDER BY name");
    while (query.Next()) {
      artifacts.push_back({.name = query.Text(0), .size_bytes = query.Int(1)});
    }
    return absl::OkStatus();
  }));
  return artifacts;
}

absl::StatusOr<std::vector<std::string>> DatabaseFile::NamedBy(
    const std::string& artifact) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(Run([&](Connection& connection) {
    Query query(connection,
                "SELECT job || ' (' || file_name || ')' FROM job_outputs"
                " WHERE artifact = ?1"
                " UNION SELECT job FROM job_artifacts WHERE artifact = ?1"
                " UNION SELECT adapter FROM adapter_artifacts"
                " WHERE artifact = ?1"
                " UNION SELECT name FROM directions WHERE artifact = ?1"
                " LIMIT 3",
                absl::string_view(artifact));
    while (query.Next()) names.push_back(query.Text(0));
    return absl::OkStatus();
  }));
  return names;
}

absl::StatusOr<std::vector<std::string>> DatabaseFile::Damage(bool quick) {
  std::vector<std::string> lines;
  RETURN_IF_ERROR(Run([&](Connection& connection) {
    Query query(
        connection,
        absl::StrCat("PRAGMA ", quick ? "quick_check" : "integrity_check", "(",
                     kMostLines, ")"));
    while (query.Next()) {
      if (query.Text(0) != "ok") lines.push_back(query.Text(0));
    }
    return absl::OkStatus();
  }));
  return lines;
}

absl::StatusOr<std::vector<std::string>> DatabaseFile::DanglingRows() {
  std::vector<std::string> lines;
  RETURN_IF_ERROR(Run([&](Connection& connection) {
    Query query(connection, "PRAGMA foreign_key_check");
    while (lines.size() < kMostLines && query.Next()) {
      lines.push_back(absl::StrCat("a row of ", query.Text(0),
                                   " names a row of ", query.Text(2),
                                   " that does not exist"));
    }
    return absl::OkStatus();
  }));
  return lines;
}

absl::StatusOr<std::vector<std::string>> DatabaseFile::Gaps() {
  std::vector<std::string> lines;
  RETURN_IF_ERROR(Run([&](Connection& connection) {
    Query events(connection, kEventGaps);
    while (lines.size() < kMostLines && events.Next()) {
      lines.push_back(absl::StrCat(
          events.Text(0), " has ", events.Int(2), " events, ", events.Int(3),
          " to ", events.Int(4), ", and should have 1 to ", events.Int(1)));
    }
    Query items(connection, kItemGaps);
    while (lines.size() < kMostLines && items.Next()) {
      lines.push_back(absl::StrCat(items.Text(0), " has ", items.Int(1),
                                   " items, ", items.Int(2), " to ",
                                   items.Int(3)));
    }
    return absl::OkStatus();
  }));
  return lines;
}

}  // namespace dissonance
