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
      group_(engine, [this](const absl::Status& status) {
        alarm_.Set(std::chrono::system_clock::now(),
                   [this, status](bool /*ok*/) { Respond(status); });
      }) {}

void ScoreCall::Start() {
  for (size_t i = 0; i < tasks_.size() && !group_.has_failed(); ++i) {
    group_.Add([this, i] { return Submit(i); });
  }
  group_.Leave();
}

absl::StatusOr<std::vector<int64_t>> ScoreCall::Submit(size_t index) {
  const absl::StatusOr<int64_t> number = engine_.SubmitScore(
      plan_.VariantOf(tasks_[index]), plan_.TaskOf(tasks_[index]),
      [this, index](absl::StatusOr<ScoreResult> result) {
        Take(index, std::move(result));
      },
      priority_);
  if (!number.ok()) {
    return Annotate(number.status(), plan_.ItemLabel(tasks_[index]));
  }
  return std::vector<int64_t>{*number};
}

void ScoreCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void ScoreCall::Take(size_t index, absl::StatusOr<ScoreResult> result) {
  if (result.ok()) {
    results_[index] = *std::move(result);
  } else {
    group_.Fail(Annotate(result.status(), plan_.ItemLabel(tasks_[index])));
  }
  group_.Leave();
}

void ScoreCall::Respond(const absl::Status& status) {
  if (status.ok()) {
    response_ = MakeScoreResponse(plan_, results_, engine_.options());
  }
  // The call may be deleted by another thread from here on.
  Finish(ToGrpc(status));
}

}  // namespace dissonance
