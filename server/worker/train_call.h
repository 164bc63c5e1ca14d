// One Train RPC in flight: takes what the caller sends, makes a training of it
// and runs that in the engine; no thread waits for it. Files of snapshots are
// written and read by the transport's threads. Deletes itself. Thread safe.
//
//   auto* call = new TrainCall(context, budget, scratch_folder);
//   call->Start();
//   return call;
#ifndef DISSONANCE_SERVER_WORKER_TRAIN_CALL_H_
#define DISSONANCE_SERVER_WORKER_TRAIN_CALL_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/internal/v1/training.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/worker/stream_call.h"
#include "server/worker/train_intake.h"
#include "server/worker/train_run.h"
#include "server/worker/training_budget.h"

namespace dissonance {

class TrainCall final
    : public StreamCall<internal::v1::TrainResponse,
                        grpc::ServerBidiReactor<internal::v1::TrainRequest,
                                                internal::v1::TrainResponse>>,
      public TrainSink {
 public:
  // Borrows what the context names, and the budget.
  TrainCall(const TrainContext& context, TrainingBudget& budget,
            const std::string& scratch_folder);

  // Reads the first message. Call once.
  void Start();

  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(run_mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(run_mutex_);

  bool HasRoom() const override { return has_room(); }
  void Report(internal::v1::TrainResponse message) override;
  void ReportWithFiles(internal::v1::TrainingSnapshot snapshot,
                       std::vector<SnapshotFile> files,
                       std::function<void()> sent) override;
  void Conclude(const absl::Status& status) override;

 private:
  class FileSender;

  std::shared_ptr<TrainRun> run() const ABSL_LOCKS_EXCLUDED(run_mutex_);
  // Of a message: whether it was in order, and in `goes_on` whether another may
  // come.
  absl::Status Take(bool& goes_on);
  absl::Status Begin(bool& goes_on) ABSL_LOCKS_EXCLUDED(run_mutex_);

  const TrainContext context_;
  TrainingBudget& budget_;
  const std::string scratch_folder_;
  internal::v1::TrainRequest request_;  // being read
  TrainIntake intake_;
  std::atomic<bool> is_cancelled_ = false;
  mutable absl::Mutex run_mutex_;
  // Null until it begins.
  std::shared_ptr<TrainRun> run_ ABSL_GUARDED_BY(run_mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAIN_CALL_H_
