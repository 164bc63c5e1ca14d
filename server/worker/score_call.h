// One Score RPC in flight: its sequences run in the engine, no thread waits
// for them; the last one to end finishes the call. Cancellation and the
// client's deadline end its sequences within one engine step. Deletes itself.
//
//   auto* call = new ScoreCall(engine, *std::move(plan), *response);
//   call->Start();
//   return call;
#ifndef DISSONANCE_SERVER_WORKER_SCORE_CALL_H_
#define DISSONANCE_SERVER_WORKER_SCORE_CALL_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/score_plan.h"
#include "server/worker/task_group.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class ScoreCall final : public grpc::ServerUnaryReactor {
 public:
  // Borrows the engine and the response.
  ScoreCall(Engine& engine, ScorePlan plan, v1::ScoreResponse& response,
            Priority priority);

  // Queues the sequences. Call once.
  void Start();

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  absl::StatusOr<std::vector<int64_t>> Submit(size_t index);
  void Take(size_t index, absl::StatusOr<ScoreResult> result);
  void Respond(const absl::Status& status);

  Engine& engine_;
  const ScorePlan plan_;
  const std::vector<ScoreTaskPlace> tasks_;
  v1::ScoreResponse& response_;
  const Priority priority_;
  std::vector<ScoreResult> results_;  // of each task, written once
  // Moves the response's making off the engine's thread.
  grpc::Alarm alarm_;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_SCORE_CALL_H_
