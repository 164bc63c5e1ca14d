// The sequences of one call in the engine: cancelled together at the first
// error, and waited for to the last. A call has a part of the engine's queue
// only; the rest of its sequences are submitted as others end. Thread safe.
//
//   for (...) group.Add([=] { return Submit(...); });  // its end calls Leave
//   group.Leave();                                     // the constructor's own
#ifndef DISSONANCE_SERVER_WORKER_TASK_GROUP_H_
#define DISSONANCE_SERVER_WORKER_TASK_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// Members of one group in the engine at once.
inline constexpr size_t kMostMembers = 256;

class TaskGroup {
 public:
  // Queues a member's sequences in the engine and returns their numbers.
  using Submit = std::function<absl::StatusOr<std::vector<int64_t>>()>;

  // `on_end` is called once, with the first error, when all have left; the
  // group may be destroyed in it. Begins with one member: whoever starts it.
  TaskGroup(Engine& engine, std::function<void(const absl::Status&)> on_end)
      : engine_(engine), on_end_(std::move(on_end)) {}

  // One more, submitted now or, about in order, when there is room, by a thread
  // that calls Add or Leave. Refused: the group fails. Whoever calls it is a
  // member itself.
  void Add(Submit submit) ABSL_LOCKS_EXCLUDED(mutex_);
  // One less.
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);

  // Remembers the first error and cancels all members.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  bool has_failed() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // `leaving`: members that are about to leave.
  void SubmitWaiting(size_t leaving) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetError(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t submitted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return count_ - waiting_.size();
  }

  Engine& engine_;
  const std::function<void(const absl::Status&)> on_end_;
  mutable absl::Mutex mutex_;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 1;  // with those that wait
  std::deque<Submit> waiting_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> numbers_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TASK_GROUP_H_
