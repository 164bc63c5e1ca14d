#include "server/worker/task_group.h"

namespace dissonance {

void TaskGroup::Enter() {
  const absl::MutexLock lock(&mutex_);
  ++count_;
}

void TaskGroup::Entered(const absl::StatusOr<int64_t>& number) {
  if (!number.ok()) {
    Fail(number.status());
    Leave();
    return;
  }
  const absl::MutexLock lock(&mutex_);
  numbers_.insert(*number);
  // Whoever failed since could not see this number.
  if (!error_.ok()) engine_.Cancel(*number);
}

void TaskGroup::Leave() {
  absl::Status error;
  {
    const absl::MutexLock lock(&mutex_);
    if (--count_ > 0) return;
    error = error_;
  }
  // The group may go away in it.
  const auto on_end = on_end_;
  on_end(error);
}

void TaskGroup::Fail(const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  if (!error_.ok()) return;
  error_ = status;
  for (const int64_t number : numbers_) engine_.Cancel(number);
}

bool TaskGroup::has_failed() const {
  const absl::MutexLock lock(&mutex_);
  return !error_.ok();
}

}  // namespace dissonance
