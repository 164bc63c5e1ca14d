#include "src/lab/storage/job_queue.h"

#include <utility>

#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/job_rows.h"

namespace dissonance {
namespace {

constexpr v1::JobPriority kPriorities[] = {v1::JOB_PRIORITY_INTERACTIVE,
                                           v1::JOB_PRIORITY_NORMAL,
                                           v1::JOB_PRIORITY_BACKGROUND};

void AddHead(Connection& connection, const std::string& owner,
             v1::JobPriority priority, JobPlace place,
             const std::set<std::string>& skip, std::vector<QueueHead>& heads) {
  Query query(connection, kQueueSql, owner, int32_t{priority},
              static_cast<int32_t>(place));
  while (query.Next()) {
    std::string name = query.Text(0);
    if (skip.contains(name)) continue;
    heads.push_back({.name = std::move(name),
                     .owner = owner,
                     .priority = priority,
                     .queue_time = *query.Time(1),
                     .place = place});
    return;
  }
}

// An index has all that counts a user's jobs; to tell priorities apart the row
// of each is looked at, ten times as slow. So those of normal priority, the
// most, are what the others leave.
void AddCounts(Connection& connection, const std::string& owner,
               absl::string_view name, std::vector<QueueCount>& counts) {
  Query all(connection,
            "SELECT count(*), count(*) FILTER (WHERE name < ?) FROM jobs"
            " INDEXED BY jobs_by_owner_and_state"
            " WHERE owner = ? AND state = 1",
            name, owner);
  all.Next();
  QueueCount normal = {.owner = owner,
                       .priority = v1::JOB_PRIORITY_NORMAL,
                       .count = all.Int(0),
                       .older_count = all.Int(1)};
  for (const v1::JobPriority priority :
       {v1::JOB_PRIORITY_INTERACTIVE, v1::JOB_PRIORITY_BACKGROUND}) {
    Query some(connection,
               "SELECT count(*), count(*) FILTER (WHERE name < ?) FROM jobs"
               " INDEXED BY jobs_queue"
               " WHERE state = 1 AND owner = ? AND priority = ?",
               name, owner, int32_t{priority});
    some.Next();
    counts.push_back({.owner = owner,
                      .priority = priority,
                      .count = some.Int(0),
                      .older_count = some.Int(1)});
    normal.count -= some.Int(0);
    normal.older_count -= some.Int(1);
  }
  counts.push_back(std::move(normal));
}

}  // namespace

absl::StatusOr<std::vector<QueueHead>> JobQueue::Heads(
    const std::set<std::string>& skip) {
  std::vector<QueueHead> heads;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query owners(connection, kQueueOwnersSql);
    while (owners.Next()) {
      for (const v1::JobPriority priority : kPriorities) {
        for (const JobPlace place : kJobPlaces) {
          AddHead(connection, owners.Text(0), priority, place, skip, heads);
        }
      }
    }
    return absl::OkStatus();
  }));
  return heads;
}

absl::StatusOr<std::vector<QueueCount>> JobQueue::Counts(
    absl::string_view name) {
  std::vector<QueueCount> counts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query owners(connection, kQueueOwnersSql);
    while (owners.Next()) {
      AddCounts(connection, owners.Text(0), name, counts);
    }
    return absl::OkStatus();
  }));
  return counts;
}

absl::StatusOr<PendingCounts> JobQueue::PendingOf(absl::string_view owner) {
  PendingCounts counts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query pending(connection, kPendingCountSql, owner);
    pending.Next();
    counts.queued = pending.Int(0);
    Query running(connection,
                  "SELECT count(*) FROM jobs INDEXED BY jobs_by_owner_and_state"
                  " WHERE owner = ? AND state IN (3, 6, 8)",
                  owner);
    running.Next();
    counts.running = running.Int(0);
    return absl::OkStatus();
  }));
  return counts;
}

absl::StatusOr<std::map<v1::JobState, int64_t>> JobQueue::CountByState() {
  std::map<v1::JobState, int64_t> counts;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT state, count(*) FROM jobs INDEXED BY jobs_by_state"
                " GROUP BY state");
    while (query.Next()) {
      counts[static_cast<v1::JobState>(query.Int(0))] = query.Int(1);
    }
    return absl::OkStatus();
  }));
  return counts;
}

absl::StatusOr<double> JobQueue::MeanDeviceSeconds(int limit) {
  double mean = 0;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT coalesce(avg(device_seconds), 0) FROM"
                " (SELECT device_seconds FROM jobs WHERE state = 4"
                " ORDER BY name DESC LIMIT ?)",
                limit);
    query.Next();
    mean = query.Real(0);
    return absl::OkStatus();
  }));
  return mean;
}

}  // namespace dissonance
