// What must hold of a loaded model whatever its weights are: checked on the
// model itself, with figures. Runs an engine of its own on the caller's
// thread, beside whatever else computes.
#ifndef DISSONANCE_COMPUTE_ENGINE_SELF_CHECK_H_
#define DISSONANCE_COMPUTE_ENGINE_SELF_CHECK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/engine/engine_options.h"
#include "src/compute/model/model.h"

namespace dissonance {

struct InvariantResult {
  std::string name;
  std::string description;
  double difference = 0.0;  // largest found; 0: equal bit for bit
  double limit = 0.0;       // largest allowed
  int64_t compared_count = 0;
  std::string message;  // why it could not be checked; empty else

  bool passed() const {
    return message.empty() && compared_count > 0 && difference <= limit;
  }
};

// All invariants, in a fixed order, on prompts drawn from `seed`. `directory`
// is where the model was loaded from. CANCELLED once `cancelled` says so.
absl::StatusOr<std::vector<InvariantResult>> CheckModel(
    const std::shared_ptr<const Model>& model, const std::string& directory,
    const EngineOptions& options, uint64_t seed,
    const std::function<bool()>& cancelled);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_SELF_CHECK_H_
