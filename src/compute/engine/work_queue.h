// The works of an engine, a piece at a time. Readings take turns after each
// step. Background works take turns among themselves, when nothing else could
// be done; beside sequences of jobs they get half of the time, and beside
// interactive ones a small share, so that a stream of those that never ends
// does not stop them for ever. Used by the engine's thread only.
//
//   works.RunReading();
//   works.RunBackground(WorkQueue::Others::kJobs, step_seconds);
#ifndef DISSONANCE_COMPUTE_ENGINE_WORK_QUEUE_H_
#define DISSONANCE_COMPUTE_ENGINE_WORK_QUEUE_H_

#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "src/compute/engine/background_turn.h"
#include "src/compute/engine/engine_work.h"

namespace dissonance {

class WorkQueue {
 public:
  // Who else has something to compute.
  enum class Others { kNone, kJobs, kInteractive };

  // Of the time, what background works get beside interactive requests.
  explicit WorkQueue(double background_share)
      : interactive_turn_(background_share), job_turn_(kShareBesideJobs) {}

  void Add(std::shared_ptr<EngineWork> work);

  // Ends the background works that nobody wants any more. Returns whether
  // there were any.
  bool DropCancelled();

  // Does a piece of a reading. Returns whether there was one.
  bool RunReading();

  // Does a piece of a background work if it is their turn after the others'
  // step, which took so long. Returns whether a piece was done.
  bool RunBackground(Others others, double seconds);

  // Ends all.
  void FinishAll(const absl::Status& status);

 private:
  static constexpr double kShareBesideJobs = 0.5;
  using Works = std::deque<std::shared_ptr<EngineWork>>;

  // Does a piece of one of them, which then is the last or has ended.
  static void RunPiece(Works& works, Works::iterator which);

  Works readings_;
  Works background_;
  BackgroundTurn interactive_turn_;
  BackgroundTurn job_turn_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_WORK_QUEUE_H_
