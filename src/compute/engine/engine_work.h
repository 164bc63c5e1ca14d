// What the engine's thread does beside forward passes: readings of kept rows,
// checks of a model.
#ifndef DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_
#define DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_

#include "absl/status/status.h"

namespace dissonance {

// Computation that is not a forward pass, done in pieces between steps.
class EngineWork {
 public:
  virtual ~EngineWork() = default;
  // Does a piece no longer than a step. Returns whether there is more. May
  // throw c10::Error as torch does.
  virtual bool RunPiece() = 0;
  // Called once, last: OK after RunPiece returned false, else why it ended.
  virtual void Finish(const absl::Status& status) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_ENGINE_WORK_H_
