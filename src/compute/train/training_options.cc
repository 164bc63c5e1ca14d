#include "src/compute/train/training_options.h"

#include <algorithm>

namespace dissonance {

int64_t TrainingDocument::target_count() const {
  if (is_target.empty()) {
    return std::max<int64_t>(static_cast<int64_t>(tokens.size()) - 1, 0);
  }
  return std::count(is_target.begin() + 1, is_target.end(), true);
}

}  // namespace dissonance
