// A training in the engine: piece by piece in the background, with what it has
// to send in between. After each step: the step; its validation; an evaluation,
// which awaits go_on; a checkpoint. At the end an evaluation, what comes out,
// the end. After a stop: a checkpoint of the last whole step, the end.
//
// The engine's thread runs it; Fail, GoOn, Stop and CallerClosed come from any
// thread. Nothing is computed while the sink has no room or sends files.
//
//   auto run = std::make_shared<TrainRun>(std::move(training), context, sink);
//   RETURN_IF_ERROR(engine.SubmitWork(run));
#ifndef DISSONANCE_SERVER_WORKER_TRAIN_RUN_H_
#define DISSONANCE_SERVER_WORKER_TRAIN_RUN_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/internal/v1/training.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/peak_memory.h"
#include "server/worker/train_intake.h"
#include "src/compute/engine/engine.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// Since the beginning, and of now.
struct TrainingCounts {
  std::atomic<int64_t> step_count = 0;
  std::atomic<int64_t> token_count = 0;
  std::atomic<int64_t> block_count = 0;     // of either pass
  std::atomic<int64_t> training_count = 0;  // under way
};

// A file of a snapshot, to be written.
struct SnapshotFile {
  internal::v1::SnapshotChunk::File file;
  std::vector<NamedTensor> tensors;  // copies
  SafetensorsMetadata metadata;
};

// Where a run's messages go, in order. Does not wait.
class TrainSink {
 public:
  virtual bool HasRoom() const = 0;
  virtual void Report(internal::v1::TrainResponse message) = 0;
  // A snapshot, then its files; `sent` is called by another thread once all of
  // them are on their way.
  virtual void ReportWithFiles(internal::v1::TrainingSnapshot snapshot,
                               std::vector<SnapshotFile> files,
                               std::function<void()> sent) = 0;
  // Called once, last; the sink may be gone when it returns.
  virtual void Conclude(const absl::Status& status) = 0;

 protected:
  virtual ~TrainSink() = default;
};

// What runs share; borrowed.
struct TrainContext {
  Engine& engine;
  ModelRegistry& registry;
  TrainingCounts& counts;
  PeakMemory& peaks;
};

class TrainRun final : public EngineWork {
 public:
  // Borrows the sink until Conclude.
  TrainRun(PreparedTraining training, const TrainContext& context,
           TrainSink& sink);

  // Ends it with the first such status, within a piece.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // INVALID_ARGUMENT if nothing awaits it.
  absl::Status GoOn();
  void Stop();
  // Nothing more comes: an evaluation would wait for ever.
  void CallerClosed();

  bool RunPiece() override;
  void Finish(const absl::Status& status) override;
  bool is_background() const override { return true; }
  bool ready() const override;
  bool cancelled() const override { return has_failed_; }

 private:
  // What is to be done before the next piece of the training.
  enum class Due { kEvaluation, kCheckpoint, kFinal, kEnd };
  // Of a snapshot that awaits the caller.
  enum class Answer { kNoneAwaited, kAwaited, kCame };

  absl::Status Train();
  void ReportPiece(const TrainingPiece& piece);
  // What is due after the present step and its validation, if the training is
  // not over.
  void PlanStep();
  absl::Status Do(Due due);
  absl::Status Evaluate();
  void EndEvaluation();
  void SendCheckpoint();
  void SendFinal();
  void SendFiles(internal::v1::TrainingSnapshot::Kind kind,
                 std::vector<SnapshotFile> files);
  void SendEnd();

  PreparedTraining training_;
  const TrainContext context_;
  TrainSink& sink_;

  std::atomic<bool> is_stopped_ = false;  // by the caller, also below
  std::atomic<bool> is_closed_ = false;
  std::atomic<Answer> answer_ = Answer::kNoneAwaited;
  std::atomic<bool> sends_files_ = false;
  std::atomic<bool> has_failed_ = false;
  absl::Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);

  // The engine thread's own.
  std::deque<Due> due_;
  internal::v1::TrainingEnd::Reason reason_ =
      internal::v1::TrainingEnd::REASON_UNSPECIFIED;
  bool is_ending_ = false;                 // a stop changes nothing any more
  double step_seconds_ = 0.0;              // of the step under way
  std::optional<PeakMemory::Watch> peak_;  // until Finish
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAIN_RUN_H_
