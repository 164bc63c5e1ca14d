// The engine: many requests, one batch after another. A step picks sequences
// under a token budget, packs their rows without padding, runs the decoder and
// hands the results back. In reproducible mode a request's numbers are the
// same bits whatever else shares its batches.
//
// Submit and Cancel may be called from any thread. Callbacks run on the
// engine's thread and must be quick. Requests keep their model and adapter
// alive until they end.
//
//   Engine engine({.step_tokens = 1024});
//   engine.Start();
//   engine.SubmitScore({.model = model, .adapter = adapter}, task,
//                      [](absl::StatusOr<ScoreResult> result) { ... });
#ifndef DISSONANCE_COMPUTE_ENGINE_ENGINE_H_
#define DISSONANCE_COMPUTE_ENGINE_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/compute/engine/generate.h"
#include "src/compute/engine/score.h"
#include "src/compute/engine/sequence.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/lora/batch_delta.h"
#include "src/compute/model/kv_cache.h"
#include "src/compute/model/model.h"

namespace dissonance {

struct EngineOptions {
  // Most rows of a step; one sequence's chunk always fits. More rows use the
  // processor better, fewer give other requests their turn sooner.
  int64_t step_tokens = 1024;
  // Longer prompts are computed in pieces of this many tokens.
  int64_t prefill_chunk = 1024;
  // Key/value caches in all. A request that needs more alone is refused.
  int64_t kv_cache_bytes = int64_t{4} << 30;
  // Requests waiting; further ones are refused.
  int64_t queue_limit = 100000;
  // Bit-identical results whatever shares the batch; see row_ops.h.
  bool reproducible = true;
};

// Which network computes a request.
struct EngineVariant {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const LoraAdapter> adapter = nullptr;  // null: base
  std::optional<DropoutKey> dropout = std::nullopt;      // Monte-Carlo dropout
  // From PrepareInterventions for this model; null: none.
  std::shared_ptr<const Interventions> interventions = nullptr;
};

struct EngineStats {
  int64_t step_count = 0;
  int64_t computed_token_count = 0;
  int64_t sequence_count = 0;  // waiting and running
  int64_t kv_cache_bytes = 0;  // held now
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  // Ends all sequences with CANCELLED.
  ~Engine();

  // Runs steps on a thread of its own until destruction. Without it the
  // caller runs Step(), as tests do.
  void Start();

  // Queues work and returns its number for Cancel. INVALID_ARGUMENT for a
  // token id outside the vocabulary, a sequence longer than the model's
  // positions, or what MakeScoreSequence and MakeGenerateSequence say;
  // RESOURCE_EXHAUSTED, with figures, if its cache can never fit or the queue
  // is full. `done` is then not called; otherwise exactly once.
  absl::StatusOr<int64_t> SubmitScore(EngineVariant variant, ScoreTask task,
                                      ScoreDone done);
  absl::StatusOr<int64_t> SubmitGenerate(EngineVariant variant,
                                         GenerateTask task, GenerateDone done);

  // Ends a sequence with CANCELLED within one step; unknown numbers and ended
  // sequences are ignored.
  void Cancel(int64_t number) ABSL_LOCKS_EXCLUDED(mutex_);

  // One step. Returns false if there was nothing to do. Only one thread, and
  // not after Start().
  bool Step();

  EngineStats stats() const;
  const EngineOptions& options() const { return options_; }

 private:
  struct Entry;
  using Entries = std::vector<Entry*>;

  absl::StatusOr<int64_t> Submit(EngineVariant variant,
                                 absl::StatusOr<std::unique_ptr<Sequence>> made,
                                 int64_t total_tokens)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Moves new sequences in and takes cancelled ones out.
  void TakeIn() ABSL_LOCKS_EXCLUDED(mutex_);
  Entries Pick();
  // Gives the entry its cache. False: there is no room now.
  bool Admit(Entry& entry);
  // Runs one batch; on an error each of its sequences is tried alone, so that
  // only the offender fails.
  void RunOrSplit(const Entries& entries);
  absl::Status Run(const Entries& entries);
  void End(Entry& entry, const absl::Status& status);

  const EngineOptions options_;
  mutable absl::Mutex mutex_;
  std::deque<std::unique_ptr<Entry>> arrived_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> cancelled_ ABSL_GUARDED_BY(mutex_);
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // The engine thread's own, in order of arrival.
  std::deque<std::unique_ptr<Entry>> entries_;

  std::atomic<int64_t> step_count_ = 0;
  std::atomic<int64_t> computed_token_count_ = 0;
  std::atomic<int64_t> sequence_count_ = 0;
  std::atomic<int64_t> kv_bytes_ = 0;
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_ENGINE_H_
