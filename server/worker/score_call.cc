#include "server/worker/score_call.h"

#include <chrono>
#include <utility>

#include "server/worker/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {

ScoreCall::ScoreCall(Engine& engine, ScorePlan plan,
                     v1::ScoreResponse& response, Priority priority)
    : engine_(engine),
      plan_(std::move(plan)),
      tasks_(plan_.Tasks()),
      response_(response),
      priority_(priority),
      results_(tasks_.size()),
      waiting_for_(tasks_.size() + 1) {}

void ScoreCall::Start() {
  for (size_t i = 0; i < tasks_.size(); ++i) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!error_.ok()) {
        // Start's own count is still held, so this cannot reach zero.
        waiting_for_ -= tasks_.size() - i;
        break;
      }
    }
    const absl::StatusOr<int64_t> number = engine_.SubmitScore(
        plan_.VariantOf(tasks_[i]), plan_.TaskOf(tasks_[i]),
        [this, i](absl::StatusOr<ScoreResult> result) {
          Take(i, std::move(result));
        },
        priority_);
    if (!number.ok()) {
      Fail(Annotate(number.status(), plan_.ItemLabel(tasks_[i])));
      --waiting_for_;
      continue;
    }
    const absl::MutexLock lock(&mutex_);
    numbers_.push_back(*number);
    // Failed or cancelled since: whoever did could not see this number.
    if (!error_.ok()) engine_.Cancel(*number);
  }
  CountDown();
}

void ScoreCall::OnCancel() {
  Fail(absl::CancelledError("the client went away or its deadline passed"));
}

void ScoreCall::Take(size_t index, absl::StatusOr<ScoreResult> result) {
  if (result.ok()) {
    results_[index] = *std::move(result);
  } else {
    Fail(Annotate(result.status(), plan_.ItemLabel(tasks_[index])));
  }
  CountDown();
}

void ScoreCall::Fail(const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  if (!error_.ok()) return;
  error_ = status;
  for (const int64_t number : numbers_) engine_.Cancel(number);
}

void ScoreCall::CountDown() {
  if (--waiting_for_ != 0) return;
  alarm_.Set(std::chrono::system_clock::now(),
             [this](bool /*ok*/) { Respond(); });
}

void ScoreCall::Respond() {
  absl::Status error;
  {
    const absl::MutexLock lock(&mutex_);
    error = error_;
  }
  if (error.ok()) {
    response_ = MakeScoreResponse(plan_, results_, engine_.options());
  }
  // The call may be deleted by another thread from here on.
  Finish(ToGrpc(error));
}

}  // namespace dissonance
