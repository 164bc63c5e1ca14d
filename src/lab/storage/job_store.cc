#include "src/lab/storage/job_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/job_rows.h"

namespace dissonance {
namespace {

// Sorts after every "jobs/...".
constexpr absl::string_view kAfterAllNames = "jobs0";

void AppendEvent(Connection& connection, absl::Time now, v1::JobEvent event,
                 v1::Job& job) {
  job.set_last_event_number(job.last_event_number() + 1);
  event.set_number(job.last_event_number());
  *event.mutable_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
          absl::ToUnixMicros(now));
  InsertEvent(connection, job.name(), event);
}

void InsertItems(Connection& connection, absl::string_view name, int64_t first,
                 absl::Span<const std::string> items) {
  for (const std::string& item : items) {
    Query(connection,
          "INSERT INTO job_items (job, item_index, item) VALUES (?, ?, ?)",
          name, first++, Blob{item})
        .Run();
  }
}

void PutOutput(Connection& connection, absl::string_view name,
               const v1::JobOutput& output) {
  Query(connection,
        "INSERT INTO job_outputs (job, file_name, artifact, size_bytes,"
        " names_run) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (job, file_name) DO UPDATE SET"
        " artifact = excluded.artifact, size_bytes = excluded.size_bytes,"
        " names_run = excluded.names_run",
        name, output.file_name(), output.artifact(), output.size_bytes(),
        int32_t{output.names_run()})
      .Run();
}

void RemoveOutput(Connection& connection, absl::string_view name,
                  absl::string_view file_name) {
  Query(connection, "DELETE FROM job_outputs WHERE job = ? AND file_name = ?",
        name, file_name)
      .Run();
}

absl::StatusOr<std::optional<StoredJob>> FindJob(Connection& connection,
                                                 absl::string_view owner,
                                                 absl::string_view request_id) {
  if (request_id.empty()) return std::nullopt;
  Query query(connection, kFindByRequestSql, owner, request_id);
  if (!query.Next()) return std::nullopt;
  return ReadJob(connection, query.Text(0), JobStore::Spec::kFull);
}

absl::Status CheckLimits(Connection& connection, const StoredJob& stored,
                         const QueueLimits& limits) {
  const auto count = [&](absl::string_view sql) {
    Query query(connection, sql, stored.owner);
    query.Next();
    return query.Int(0);
  };
  if (limits.pending > 0 && count(kPendingCountSql) >= limits.pending) {
    return absl::ResourceExhaustedError(absl::StrCat(
        NameOfUser(stored.owner),
        " has as many jobs queued or waiting as the "
        "quota allows, ",
        limits.pending,
        ": wait until some have run, cancel some, or ask an administrator for "
        "a larger quota"));
  }
  if (limits.interactive > 0 &&
      stored.job.priority() == v1::JOB_PRIORITY_INTERACTIVE &&
      count(kInteractiveCountSql) >= limits.interactive) {
    return absl::ResourceExhaustedError(absl::StrCat(
        NameOfUser(stored.owner), " has ", limits.interactive,
        " interactive jobs queued, the most that may go before others': queue "
        "more with normal priority (--detach)"));
  }
  return absl::OkStatus();
}

void NameArtifacts(Connection& connection, absl::string_view job,
                   absl::Span<const std::string> artifacts) {
  for (const std::string& artifact : artifacts) {
    Query(connection,
          "INSERT INTO job_artifacts (job, artifact) VALUES (?, ?)"
          " ON CONFLICT DO NOTHING",
          job, artifact)
        .Run();
  }
}

absl::StatusOr<StoredJob> Apply(
    Connection& connection, absl::string_view name, absl::Time now,
    absl::FunctionRef<absl::Status(JobChange&)> edit) {
  JobChange change;
  ASSIGN_OR_RETURN(change.stored,
                   ReadJob(connection, name, JobStore::Spec::kWithoutData));
  const int64_t first = change.stored.job.progress().done_count();
  RETURN_IF_ERROR(edit(change));
  v1::Job& job = change.stored.job;
  const int64_t item_count = static_cast<int64_t>(change.items.size());
  if (job.progress().done_count() != first + item_count) {
    return absl::InternalError(absl::StrCat(
        name, ": done_count would be ", job.progress().done_count(), " with ",
        first + item_count, " items recorded; this is a bug, report it"));
  }
  InsertItems(connection, name, first, change.items);
  if (change.output.has_value()) PutOutput(connection, name, *change.output);
  if (!change.removed_output.empty()) {
    RemoveOutput(connection, name, change.removed_output);
  }
  for (v1::JobEvent& event : change.events) {
    AppendEvent(connection, now, std::move(event), job);
  }
  UpdateJob(connection, change.stored);
  if (change.use.has_value()) InsertUse(connection, *change.use);
  if (change.output.has_value() || !change.removed_output.empty()) {
    ReadOutputs(connection, job);
  }
  return std::move(change.stored);
}

}  // namespace

absl::Status JobStore::NoSuchJob(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat(name, " does not exist; ListJobs names those that do"));
}

absl::StatusOr<CreatedJob> JobStore::Create(
    const StoredJob& stored, const QueueLimits& limits,
    absl::Span<const std::string> artifacts) {
  CreatedJob result;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(
        std::optional<StoredJob> found,
        FindJob(connection, stored.owner, stored.job.request_id()));
    if (found.has_value()) {
      result.stored = *std::move(found);
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(CheckLimits(connection, stored, limits));
    result = {.stored = stored, .created = true};
    v1::Job& job = result.stored.job;
    job.set_owner(NameOfUser(stored.owner));
    job.set_last_event_number(1);
    InsertJob(connection, result.stored);
    NameArtifacts(connection, job.name(), artifacts);
    v1::JobEvent event;
    event.set_number(1);
    *event.mutable_time() = job.create_time();
    event.set_state(job.state());
    InsertEvent(connection, job.name(), event);
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<StoredJob> JobStore::Get(absl::string_view name, Spec spec) {
  StoredJob stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(stored, ReadJob(connection, name, spec));
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::optional<StoredJob>> JobStore::FindByRequest(
    absl::string_view owner, absl::string_view request_id) {
  std::optional<StoredJob> found;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(found, FindJob(connection, owner, request_id));
    return absl::OkStatus();
  }));
  return found;
}

absl::StatusOr<std::vector<v1::Job>> JobStore::List(const JobFilter& filter) {
  const bool by_owner = !filter.owner.empty();
  const bool by_state = filter.state != v1::JOB_STATE_UNSPECIFIED;
  const std::string sql = ListJobsSql(by_owner, by_state);
  const absl::string_view before =
      filter.before.empty() ? kAfterAllNames : filter.before;
  const int32_t state = filter.state;
  std::vector<v1::Job> jobs;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    const auto read_all = [&](Query&& query) {
      while (query.Next()) jobs.push_back(JobOfRow(query).job);
    };
    if (by_owner && by_state) {
      read_all({connection, sql, filter.owner, state, before, filter.limit});
    } else if (by_owner) {
      read_all({connection, sql, filter.owner, before, filter.limit});
    } else if (by_state) {
      read_all({connection, sql, state, before, filter.limit});
    } else {
      read_all({connection, sql, before, filter.limit});
    }
    for (v1::Job& job : jobs) ReadOutputs(connection, job);
    return absl::OkStatus();
  }));
  return jobs;
}

absl::StatusOr<std::vector<std::string>> JobStore::NamesIn(v1::JobState state) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, kNamesInStateSql, int32_t{state});
    while (query.Next()) names.push_back(query.Text(0));
    return absl::OkStatus();
  }));
  return names;
}

absl::StatusOr<std::vector<std::string>> JobStore::WaitingFor(
    absl::string_view name) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT job FROM job_dependencies JOIN jobs ON jobs.name = job"
                " WHERE depends_on = ? AND state = 2",
                name);
    while (query.Next()) names.push_back(query.Text(0));
    return absl::OkStatus();
  }));
  return names;
}

absl::StatusOr<std::string> JobStore::NewestName() {
  std::string name;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, "SELECT name FROM jobs ORDER BY name DESC LIMIT 1");
    if (query.Next()) name = query.Text(0);
    return absl::OkStatus();
  }));
  return name;
}

absl::StatusOr<StoredJob> JobStore::Update(
    absl::string_view name, absl::Time now,
    absl::FunctionRef<absl::Status(JobChange&)> edit) {
  StoredJob stored;
  RETURN_IF_ERROR(database_.Write([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(stored, Apply(connection, name, now, edit));
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::vector<std::string>> JobStore::Items(absl::string_view name,
                                                         int64_t first,
                                                         int limit) {
  std::vector<std::string> items;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT item FROM job_items WHERE job = ? AND item_index >= ?"
                " ORDER BY item_index LIMIT ?",
                name, first, limit);
    while (query.Next()) items.push_back(query.Bytes(0));
    return absl::OkStatus();
  }));
  return items;
}

absl::StatusOr<JobEvents> JobStore::Events(absl::string_view name,
                                           int64_t after, int limit) {
  JobEvents result;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob stored,
                     ReadJob(connection, name, Spec::kWithoutData));
    Query query(connection,
                "SELECT event FROM job_events WHERE job = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                name, after, limit);
    int64_t reached = after;
    while (query.Next()) {
      v1::JobEvent& event = result.events.emplace_back();
      event.ParseFromString(query.Bytes(0));
      reached = event.number();
    }
    if (stored.job.has_end_time() &&
        reached >= stored.job.last_event_number()) {
      result.ended_job = std::move(stored.job);
    }
    return absl::OkStatus();
  }));
  return result;
}

absl::Status JobStore::Delete(
    absl::string_view name,
    absl::FunctionRef<absl::Status(const StoredJob&)> may_delete) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const StoredJob stored,
                     ReadJob(connection, name, Spec::kWithoutData));
    RETURN_IF_ERROR(may_delete(stored));
    Query(connection, "DELETE FROM jobs WHERE name = ?", name).Run();
    return absl::OkStatus();
  });
}

}  // namespace dissonance
