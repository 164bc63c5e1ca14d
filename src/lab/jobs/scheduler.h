// Which queued job starts next, and which running one makes room: decisions
// over what is queued and running now, without side effects. Thread safe.
//
// Order: the priority, one higher for each `aging` that a job has waited; then
// the user who used least of the device of late, his running jobs counted as
// if each had used `running_charge` already; then the older job. A user at his
// limit is passed over. Each place has slots of its own; pipelines count in no
// user's limit, as what they wait for does, but one has at most a quarter of
// their slots. A job that keeps memory on the device
// starts when that memory fits beside what running jobs keep; until then no
// other such job overtakes it.
//
//   ScheduleStep step = Schedule(view);
//   if (step.start.has_value()) ...
#ifndef DISSONANCE_LAB_JOBS_SCHEDULER_H_
#define DISSONANCE_LAB_JOBS_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/storage/job_queue.h"

namespace dissonance {

// What a job keeps on the device while it runs: bytes by name. Jobs that name
// the same thing share it.
using DeviceMemory = std::map<std::string, int64_t>;

struct RunningJob {
  std::string name;
  std::string owner;
  // As it was taken: a background job that had waited long is no background
  // job any more, and is left alone.
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  bool is_stopping = false;
  DeviceMemory memory = {};
  JobPlace place = JobPlace::kDevice;
};

// What is known of a user.
struct UserStanding {
  double decayed_seconds = 0;  // of the device
  int64_t running_limit = 0;   // jobs at a time; 0: no limit
  bool may_start = true;       // false: over the quota of the week
};

struct SchedulePolicy {
  int slot_count = 1;  // of the device
  int endpoint_slot_count = 1;
  int pipeline_slot_count = 1;
  absl::Duration aging = absl::InfiniteDuration();
  int64_t device_bytes = 0;  // 0: not bounded
  double running_charge = 1;
};

struct ScheduleView {
  const std::vector<QueueHead>& heads;
  const std::vector<RunningJob>& running;
  absl::Time now;
  absl::FunctionRef<UserStanding(const std::string& user)> standing;
  absl::FunctionRef<DeviceMemory(const std::string& job)> memory;
};

struct ScheduleStep {
  // To be started now, with the priority that it goes by.
  std::optional<QueueHead> start = {};
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  DeviceMemory memory = {};
  // A running job that is to stop at its next checkpoint, and for whom.
  std::optional<std::string> preempt = {};
  std::string preempted_by = {};
};

// The priority that a job has by now.
v1::JobPriority AgedPriority(const QueueHead& head, absl::Time now,
                             absl::Duration aging);

ScheduleStep Schedule(const ScheduleView& view, const SchedulePolicy& policy);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_SCHEDULER_H_
