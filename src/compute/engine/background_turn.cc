#include "src/compute/engine/background_turn.h"

#include <algorithm>

namespace dissonance {

bool BackgroundTurn::HeldBack(double seconds) {
  owed_seconds_ += share_ * seconds;
  return share_ > 0.0 && owed_seconds_ >= (1.0 - share_) * piece_seconds_;
}

void BackgroundTurn::Ran(double seconds, bool others_waited) {
  piece_seconds_ = seconds;
  const double paid = owed_seconds_ - (1.0 - share_) * seconds;
  owed_seconds_ =
      others_waited ? paid : std::max(paid, std::min(owed_seconds_, 0.0));
}

}  // namespace dissonance
