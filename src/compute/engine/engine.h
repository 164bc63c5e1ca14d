// The engine: many requests, one batch after another. A step picks sequences
// under a token budget, packs their rows without padding, runs the decoder and
// hands the results back. In reproducible mode a request's numbers are the
// same bits whatever else shares its batches.
//
// All but Start and Step may be called from any thread. Callbacks run on the
// engine's thread and must be quick. Requests keep their model and adapter
// alive until they end.
//
//   Engine engine({.step_tokens = 1024});
//   engine.Start();
//   engine.SubmitScore({.model = model, .adapter = adapter}, task,
//                      [](absl::StatusOr<ScoreResult> result) { ... });
#ifndef DISSONANCE_COMPUTE_ENGINE_ENGINE_H_
#define DISSONANCE_COMPUTE_ENGINE_ENGINE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/engine/cache_admission.h"
#include "src/compute/engine/engine_options.h"
#include "src/compute/engine/engine_work.h"
#include "src/compute/engine/generate.h"
#include "src/compute/engine/score.h"
#include "src/compute/engine/sequence.h"
#include "src/compute/engine/step_batch.h"
#include "src/compute/engine/step_picker.h"
#include "src/compute/engine/work_queue.h"

namespace dissonance {

// One of several sequences that are submitted together.
struct GenerateRequest {
  EngineVariant variant;
  GenerateTask task;
  std::shared_ptr<GenerateListener> listener;
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  // Ends all sequences and works with CANCELLED.
  ~Engine();

  // Runs steps on a thread of its own. Without it the caller runs Step().
  void Start();

  // Queues work and returns its number for Cancel. INVALID_ARGUMENT for a
  // token id outside the vocabulary, a sequence longer than the model's
  // positions, or what MakeScoreSequence and MakeGenerateSequence say;
  // RESOURCE_EXHAUSTED, with figures, if its cache or its captures can never
  // fit; UNAVAILABLE if the queue is full. Nobody is called back then;
  // otherwise `done` or the listener's OnEnd is, once.
  absl::StatusOr<int64_t> SubmitScore(
      EngineVariant variant, ScoreTask task, ScoreDone done,
      Priority priority = Priority::kInteractive);
  absl::StatusOr<int64_t> SubmitGenerate(
      EngineVariant variant, GenerateTask task,
      std::shared_ptr<GenerateListener> listener,
      Priority priority = Priority::kInteractive);
  // The same for sequences that can't go on without each other, as their
  // listeners say: they get their caches at once. All are queued or none is.
  absl::StatusOr<std::vector<int64_t>> SubmitTogether(
      std::vector<GenerateRequest> requests, Priority priority);
  // UNAVAILABLE while stopping. See WorkQueue for whose turn it is.
  absl::Status SubmitWork(std::shared_ptr<EngineWork> work);

  // Ends a sequence with CANCELLED within one step, if it has not ended.
  void Cancel(int64_t number) ABSL_LOCKS_EXCLUDED(mutex_);

  // A listener or a work that was not ready is, or a work is cancelled.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives up all that is kept of prompts, of all models.
  void ForgetPrefixes() ABSL_LOCKS_EXCLUDED(mutex_);

  // One step. Returns false if there was nothing to do. Only one thread, and
  // not after Start().
  bool Step();

  EngineStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);
  const EngineOptions& options() const { return options_; }

 private:
  absl::StatusOr<std::unique_ptr<EngineEntry>> MakeEntry(
      EngineVariant variant, Priority priority,
      absl::StatusOr<std::unique_ptr<Sequence>> made,
      int64_t total_tokens) const;
  absl::StatusOr<int64_t> Enqueue(std::unique_ptr<EngineEntry> entry)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckQueue(int64_t count) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t Arrive(std::unique_ptr<EngineEntry> entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Moves new sequences and works in and takes cancelled sequences out.
  void TakeIn() ABSL_LOCKS_EXCLUDED(mutex_);
  // See CacheAdmission; ends an entry that can never be admitted.
  bool Admit(EngineEntry& entry, int64_t limit);
  // Runs one batch; on an error its halves are tried, so that only the
  // offender fails and what is too large together is done apart.
  void RunOrSplit(const std::vector<PickedEntry>& picked);
  absl::Status Run(const std::vector<PickedEntry>& picked);
  void Deliver(EngineEntry& entry, StepItem& item);
  // Whose sequences are computed in this step or, another model's, in one of
  // the next.
  WorkQueue::Others Serves(const std::vector<PickedEntry>& picked) const;
  // Counts the wait of those that are computed for the first time.
  void CountStarted(const std::vector<PickedEntry>& picked);
  void End(EngineEntry& entry, const absl::Status& status);
  void EraseEnded();

  const EngineOptions options_;
  mutable absl::Mutex mutex_;
  std::deque<std::unique_ptr<EngineEntry>> arrived_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<EngineWork>> arrived_works_
      ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> cancelled_ ABSL_GUARDED_BY(mutex_);
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t sequence_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool has_news_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_stepping_ ABSL_GUARDED_BY(mutex_) = false;
  bool forgets_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);  // as of the last step

  // The engine thread's own; entries in order of arrival.
  std::deque<std::unique_ptr<EngineEntry>> entries_;
  WorkQueue works_;
  StepPicker picker_;
  CacheAdmission caches_;
  EngineStats counts_;
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_ENGINE_H_
