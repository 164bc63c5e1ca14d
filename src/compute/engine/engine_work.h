// What the engine's thread does beside forward passes: readings of kept rows,
// checks of a model, training.
#ifndef DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_
#define DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_

#include "absl/status/status.h"

namespace dissonance {

// Computation that is not a forward pass of a sequence, done in pieces between
// steps. Methods are called by the engine's thread.
class EngineWork {
 public:
  virtual ~EngineWork() = default;
  // Does a piece no longer than a step; of background work, than somebody may
  // be kept waiting. Returns whether there is more. May throw c10::Error as
  // torch does.
  virtual bool RunPiece() = 0;
  // Called once, last: OK after RunPiece returned false, else why it ended.
  virtual void Finish(const absl::Status& status) = 0;

  // Whether it gives way to interactive requests and takes turns with others
  // of its kind; see WorkQueue. Always the same.
  virtual bool is_background() const { return false; }
  // Whether a piece can be done now. If not, Engine::Wake says that it can.
  // Of background work only.
  virtual bool ready() const { return true; }
  // Whether nobody wants it any more: no piece is done then, and it ends with
  // CANCELLED. Of background work only.
  virtual bool cancelled() const { return false; }
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_
