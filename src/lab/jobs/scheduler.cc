#include "src/lab/jobs/scheduler.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

namespace dissonance {
namespace {

// A queued job with what decides about it.
struct Candidate {
  const QueueHead* head = nullptr;
  v1::JobPriority priority = v1::JOB_PRIORITY_NORMAL;
  double charge = 0;

  auto Key() const { return std::tie(priority, charge, head->name); }
};

// Of pipelines, or of all others: pipelines do nothing but wait.
std::map<std::string, int64_t> RunningByOwner(const ScheduleView& view,
                                              bool pipelines) {
  std::map<std::string, int64_t> counts;
  for (const RunningJob& job : view.running) {
    if ((job.place == JobPlace::kPipeline) == pipelines) ++counts[job.owner];
  }
  return counts;
}

int SlotCount(const SchedulePolicy& policy, JobPlace place) {
  switch (place) {
    case JobPlace::kDevice:
      return policy.slot_count;
    case JobPlace::kEndpoint:
      return policy.endpoint_slot_count;
    case JobPlace::kPipeline:
      return policy.pipeline_slot_count;
  }
  return 0;
}

int64_t PipelinesOfUser(const SchedulePolicy& policy) {
  return std::max(1, policy.pipeline_slot_count / 4);
}

// For a place, in the order in which they should start, without those of users
// who may not.
std::vector<Candidate> InOrder(const ScheduleView& view,
                               const SchedulePolicy& policy, JobPlace place) {
  const bool is_pipeline = place == JobPlace::kPipeline;
  const std::map<std::string, int64_t> running =
      RunningByOwner(view, is_pipeline);
  std::vector<Candidate> candidates;
  for (const QueueHead& head : view.heads) {
    if (head.place != place) continue;
    const UserStanding user = view.standing(head.owner);
    const auto found = running.find(head.owner);
    const int64_t count = found == running.end() ? 0 : found->second;
    // None holds all places of pipelines for days.
    const int64_t limit =
        is_pipeline ? PipelinesOfUser(policy) : user.running_limit;
    const bool is_full = limit > 0 && count >= limit;
    if (is_full || !user.may_start) continue;
    candidates.push_back(
        {.head = &head,
         .priority = AgedPriority(head, view.now, policy.aging),
         .charge = user.decayed_seconds +
                   policy.running_charge * static_cast<double>(count)});
  }
  std::sort(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.Key() < b.Key(); });
  return candidates;
}

bool Fits(const DeviceMemory& wanted, const std::vector<RunningJob>& running,
          int64_t device_bytes) {
  // What is too large for the device as a whole is the worker's to refuse.
  const bool is_alone =
      std::all_of(running.begin(), running.end(),
                  [](const RunningJob& job) { return job.memory.empty(); });
  if (device_bytes <= 0 || wanted.empty() || is_alone) return true;
  DeviceMemory kept = wanted;
  for (const RunningJob& job : running) {
    kept.insert(job.memory.begin(), job.memory.end());
  }
  int64_t total = 0;
  for (const auto& [name, bytes] : kept) total += bytes;
  return total <= device_bytes;
}

// The background job at a place to make room: the one whose user has most of
// them, and of his the last started. None while one is on its way out already.
std::optional<std::string> Victim(const ScheduleView& view, JobPlace place) {
  std::map<std::string, int> by_owner;
  for (const RunningJob& job : view.running) {
    if (job.place != place) continue;
    if (job.is_stopping) return std::nullopt;
    if (job.priority == v1::JOB_PRIORITY_BACKGROUND) ++by_owner[job.owner];
  }
  const RunningJob* victim = nullptr;
  for (const RunningJob& job : view.running) {
    if (job.place != place || job.priority != v1::JOB_PRIORITY_BACKGROUND) {
      continue;
    }
    if (victim == nullptr || by_owner[job.owner] >= by_owner[victim->owner]) {
      victim = &job;
    }
  }
  if (victim == nullptr) return std::nullopt;
  return victim->name;
}

ScheduleStep MakeRoomFor(const Candidate& candidate, const ScheduleView& view) {
  ScheduleStep step;
  if (candidate.priority == v1::JOB_PRIORITY_BACKGROUND) return step;
  step.preempt = Victim(view, candidate.head->place);
  step.preempted_by = candidate.head->name;
  return step;
}

}  // namespace

v1::JobPriority AgedPriority(const QueueHead& head, absl::Time now,
                             absl::Duration aging) {
  const absl::Duration waited =
      std::max(now - head.queue_time, absl::ZeroDuration());
  int priority = head.priority;
  for (absl::Duration age = aging;
       waited >= age && priority > v1::JOB_PRIORITY_INTERACTIVE; age += aging) {
    --priority;
  }
  return static_cast<v1::JobPriority>(priority);
}

namespace {

ScheduleStep ScheduleAt(const ScheduleView& view, const SchedulePolicy& policy,
                        JobPlace place) {
  const std::vector<Candidate> candidates = InOrder(view, policy, place);
  if (candidates.empty()) return {};
  const auto taken = std::count_if(
      view.running.begin(), view.running.end(),
      [place](const RunningJob& job) { return job.place == place; });
  if (taken >= SlotCount(policy, place)) {
    return MakeRoomFor(candidates.front(), view);
  }
  bool is_memory_claimed = false;
  ScheduleStep for_memory;
  for (const Candidate& candidate : candidates) {
    DeviceMemory memory;
    if (policy.device_bytes > 0 && place == JobPlace::kDevice)
      memory = view.memory(candidate.head->name);
    if (is_memory_claimed && !memory.empty()) continue;
    if (Fits(memory, view.running, policy.device_bytes)) {
      return {.start = *candidate.head,
              .priority = candidate.priority,
              .memory = std::move(memory)};
    }
    if (!is_memory_claimed) for_memory = MakeRoomFor(candidate, view);
    is_memory_claimed = true;
  }
  return for_memory;
}

}  // namespace

ScheduleStep Schedule(const ScheduleView& view, const SchedulePolicy& policy) {
  ScheduleStep room;
  for (const JobPlace place : kJobPlaces) {
    ScheduleStep step = ScheduleAt(view, policy, place);
    if (step.start.has_value()) return step;
    if (!room.preempt.has_value()) room = std::move(step);
  }
  return room;
}

}  // namespace dissonance
