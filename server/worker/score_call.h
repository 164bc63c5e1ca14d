// One Score RPC in flight: its sequences run in the engine, no thread waits
// for them; the last one to end finishes the call. Cancellation and the
// client's deadline end its sequences within one engine step. Deletes itself.
//
//   auto* call = new ScoreCall(engine, *std::move(plan), *response);
//   call->Start();
//   return call;
#ifndef DISSONANCE_SERVER_WORKER_SCORE_CALL_H_
#define DISSONANCE_SERVER_WORKER_SCORE_CALL_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/inference.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/score_plan.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

class ScoreCall final : public grpc::ServerUnaryReactor {
 public:
  // Borrows the engine and the response.
  ScoreCall(Engine& engine, ScorePlan plan, v1::ScoreResponse& response,
            Priority priority);

  // Queues all sequences. Call once.
  void Start() ABSL_LOCKS_EXCLUDED(mutex_);

  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override { delete this; }

 private:
  void Take(size_t index, absl::StatusOr<ScoreResult> result)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Remembers the first error and cancels what is left.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // The last of the sequences, and Start itself, to be done ends the call.
  void CountDown();
  void Respond() ABSL_LOCKS_EXCLUDED(mutex_);

  Engine& engine_;
  const ScorePlan plan_;
  const std::vector<ScoreTaskPlace> tasks_;
  v1::ScoreResponse& response_;
  const Priority priority_;
  std::vector<ScoreResult> results_;  // of each task, written once
  std::atomic<size_t> waiting_for_;
  // Moves the response's making off the engine's thread.
  grpc::Alarm alarm_;
  absl::Mutex mutex_;
  std::vector<int64_t> numbers_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_SCORE_CALL_H_
