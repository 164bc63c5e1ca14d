// Jobs with their items, events and outputs, as rows. Knows nothing of which
// state may follow which: JobManager decides inside Update's transaction.
// Thread safe. Borrows the database.
//
//   ASSIGN_OR_RETURN(StoredJob stored, store.Update(
//       name, clock.Now(), [&](JobChange& change) -> absl::Status {
//         change.stored.job.set_reason("...");
//         change.events.emplace_back().set_log("...");
//         return absl::OkStatus();
//       }));
#ifndef DISSONANCE_LAB_STORAGE_JOB_STORE_H_
#define DISSONANCE_LAB_STORAGE_JOB_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_place.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

// A job and what only the server knows of it.
struct StoredJob {
  v1::Job job = {};
  std::string owner = {};
  // Times in a row that a run ended UNAVAILABLE with no item recorded since.
  int32_t lost_count = 0;
  // When it was last put into the queue; when it was created before that.
  absl::Time queue_time = absl::UnixEpoch();
  JobPlace place = JobPlace::kDevice;
};

// What one transaction does to a job.
struct JobChange {
  // In: the job, its spec without data. Out: state, progress, reason, start
  // and end time, attempt_count, provenance, code_version, usage, lost_count
  // and queue_time are written back. progress.done_count must grow by
  // items.size(): it counts the items.
  StoredJob stored;
  // Appended; the store gives each its number and time.
  std::vector<v1::JobEvent> events;
  // Appended after the items recorded so far. Must outlive the transaction.
  absl::Span<const std::string> items;
  // Added, or put in place of the one with the same file_name. Its artifact
  // must be in the ArtifactIndex.
  std::optional<v1::JobOutput> output;
  // Name of an output that the job is to name no more; empty: none.
  absl::string_view removed_output;
  // Added to what its user used.
  std::optional<HourOfUse> use;
};

// How many jobs an owner may have in the queue; 0: no limit.
struct QueueLimits {
  int64_t pending = 0;      // QUEUED and WAITING
  int64_t interactive = 0;  // QUEUED, of interactive priority
};

// What Create did.
struct CreatedJob {
  StoredJob stored;      // the new job, or the one that was there
  bool created = false;  // false: (owner, request_id) was there
};

// Some events of a job.
struct JobEvents {
  std::vector<v1::JobEvent> events;
  // Set if the job has ended and `events` reach its last event: the job then.
  std::optional<v1::Job> ended_job;
};

// Which jobs a List gives.
struct JobFilter {
  absl::string_view owner = "";  // empty: everybody's
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  absl::string_view before = "";  // only older than this name; empty: all
  int limit = 100;
};

class JobStore {
 public:
  enum class Spec { kFull, kWithoutData };

  explicit JobStore(Database& database) : database_(database) {}

  // NOT_FOUND, worded the same wherever a job is unknown or somebody else's.
  static absl::Status NoSuchJob(absl::string_view name);
  // `spec` without the contents of its bytes fields, at any depth.
  static v1::JobSpec SpecWithoutData(const v1::JobSpec& spec);

  // Inserts a job with its first event, unless the owner has one with the same
  // request_id (an empty one matches none): that one is returned, with its
  // full spec. Unset fields keep their defaults. The artifacts that it names
  // are kept as long as it is. RESOURCE_EXHAUSTED beyond the limits. REQUIRES:
  // name is new.
  absl::StatusOr<CreatedJob> Create(
      const StoredJob& stored, const QueueLimits& limits = {},
      absl::Span<const std::string> artifacts = {});

  // NOT_FOUND if there is none.
  absl::StatusOr<StoredJob> Get(absl::string_view name, Spec spec);
  absl::StatusOr<std::optional<StoredJob>> FindByRequest(
      absl::string_view owner, absl::string_view request_id);

  // Newest first, specs without data, no config_toml.
  absl::StatusOr<std::vector<v1::Job>> List(const JobFilter& filter);
  // All jobs in a state, oldest first.
  absl::StatusOr<std::vector<std::string>> NamesIn(v1::JobState state);
  // WAITING jobs that depend on `name`.
  absl::StatusOr<std::vector<std::string>> WaitingFor(absl::string_view name);
  // The newest name, empty without jobs.
  absl::StatusOr<std::string> NewestName();

  // Reads the job, lets `edit` change it and writes it back, in one durable
  // transaction; returns it as written. If `edit` fails nothing changes.
  absl::StatusOr<StoredJob> Update(
      absl::string_view name, absl::Time now,
      absl::FunctionRef<absl::Status(JobChange&)> edit);

  // Items by index: at most `limit` (-1: all) from `first` on.
  absl::StatusOr<std::vector<std::string>> Items(absl::string_view name,
                                                 int64_t first = 0,
                                                 int limit = -1);
  // At most `limit` events with greater numbers, and whether that is the end.
  absl::StatusOr<JobEvents> Events(absl::string_view name, int64_t after,
                                   int limit);
  // Removes the job with items, events and outputs if `may_delete` agrees.
  absl::Status Delete(
      absl::string_view name,
      absl::FunctionRef<absl::Status(const StoredJob&)> may_delete);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_JOB_STORE_H_
