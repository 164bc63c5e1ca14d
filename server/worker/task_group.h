// The sequences of one call in the engine: counted, cancelled together at the
// first error, and waited for to the last. Thread safe.
//
//   group.Enter();
//   group.Entered(engine.SubmitGenerate(...));   // its listener calls Leave
//   ...
//   group.Leave();                               // the constructor's own
#ifndef DISSONANCE_SERVER_WORKER_TASK_GROUP_H_
#define DISSONANCE_SERVER_WORKER_TASK_GROUP_H_

#include <cstdint>
#include <functional>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class TaskGroup {
 public:
  // `on_end` is called once, with the first error, when all have left; the
  // group may be destroyed in it. Begins with one member: whoever starts it.
  TaskGroup(Engine& engine, std::function<void(const absl::Status&)> on_end)
      : engine_(engine), on_end_(std::move(on_end)) {}

  // One more. Whoever calls it is a member itself.
  void Enter() ABSL_LOCKS_EXCLUDED(mutex_);
  // What the engine said to it. Refused: fails the group and leaves.
  void Entered(const absl::StatusOr<int64_t>& number)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // One less.
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);

  // Remembers the first error and cancels all members.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  bool has_failed() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Engine& engine_;
  const std::function<void(const absl::Status&)> on_end_;
  mutable absl::Mutex mutex_;
  int64_t count_ ABSL_GUARDED_BY(mutex_) = 1;
  std::set<int64_t> numbers_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TASK_GROUP_H_
