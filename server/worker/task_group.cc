#include "server/worker/task_group.h"

namespace dissonance {

void TaskGroup::Add(Submit submit) {
  {
    const absl::MutexLock lock(&mutex_);
    if (!error_.ok()) return;
    ++count_;
    waiting_.push_back(std::move(submit));
  }
  SubmitWaiting(/*leaving=*/0);
}

void TaskGroup::Leave() {
  // While it counts itself, so that the group does not go away.
  SubmitWaiting(/*leaving=*/1);
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

void TaskGroup::SubmitWaiting(size_t leaving) {
  while (true) {
    Submit next;
    {
      const absl::MutexLock lock(&mutex_);
      if (waiting_.empty() || submitted() - leaving >= kMostMembers) return;
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    const absl::StatusOr<std::vector<int64_t>> numbers = next();
    const absl::MutexLock lock(&mutex_);
    if (numbers.ok()) {
      numbers_.insert(numbers->begin(), numbers->end());
      if (error_.ok()) continue;
      // Whoever failed since could not see these.
      for (const int64_t number : *numbers) engine_.Cancel(number);
      return;
    }
    --count_;
    SetError(numbers.status());
    return;
  }
}

void TaskGroup::Fail(const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  SetError(status);
}

void TaskGroup::SetError(const absl::Status& status) {
  if (!error_.ok()) return;
  error_ = status;
  count_ -= waiting_.size();
  waiting_.clear();
  for (const int64_t number : numbers_) engine_.Cancel(number);
}

bool TaskGroup::has_failed() const {
  const absl::MutexLock lock(&mutex_);
  return !error_.ok();
}

}  // namespace dissonance
