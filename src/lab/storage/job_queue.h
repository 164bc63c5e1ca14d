// What a scheduler has to know of the queue, without reading all of it. Thread
// safe. Borrows the database.
//
//   ASSIGN_OR_RETURN(std::vector<QueueHead> heads, queue.Heads(running));
#ifndef DISSONANCE_LAB_STORAGE_JOB_QUEUE_H_
#define DISSONANCE_LAB_STORAGE_JOB_QUEUE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_place.h"

namespace dissonance {

// The oldest queued job of a user, a priority and a place.
struct QueueHead {
  std::string name;
  std::string owner;
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  absl::Time queue_time;
  JobPlace place = JobPlace::kDevice;
};

// How many jobs of a user and a priority are queued.
struct QueueCount {
  std::string owner;
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  int64_t count = 0;
  int64_t older_count = 0;  // of them, older than the job asked about
};

// Jobs of a user that have not ended.
struct PendingCounts {
  int64_t queued = 0;   // QUEUED, WAITING and PAUSED
  int64_t running = 0;  // RUNNING, PAUSING and CANCELLING
};

class JobQueue {
 public:
  explicit JobQueue(Database& database) : database_(database) {}

  // One for each user, priority and place with queued jobs that are not in
  // `skip`.
  // Time grows with users and `skip`, not with jobs.
  absl::StatusOr<std::vector<QueueHead>> Heads(
      const std::set<std::string>& skip);

  // As seen from the job `name`; of users with queued jobs. Takes some 1 ms for
  // 10,000 jobs of normal priority, 5 ms for those of others.
  absl::StatusOr<std::vector<QueueCount>> Counts(absl::string_view name);
  absl::StatusOr<PendingCounts> PendingOf(absl::string_view owner);
  absl::StatusOr<std::map<v1::JobState, int64_t>> CountByState();
  // The mean of the last `limit` jobs that SUCCEEDED; 0 if there are none.
  absl::StatusOr<double> MeanDeviceSeconds(int limit);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_JOB_QUEUE_H_
