// Greedy generation: the most likely token after another, with a KV cache.
#ifndef DISSONANCE_COMPUTE_ENGINE_GENERATE_H_
#define DISSONANCE_COMPUTE_ENGINE_GENERATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/engine/sequence.h"

namespace dissonance {

struct GenerateTask {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_new_tokens = 16;  // at least one
  // Generation ends after one of these, which is part of the result.
  std::vector<int32_t> stop_tokens;
};

struct GenerateResult {
  std::vector<int32_t> tokens;   // the new ones
  std::vector<double> logprobs;  // of each, nats
};

using GenerateDone = std::function<void(absl::StatusOr<GenerateResult>)>;

// INVALID_ARGUMENT for an empty prompt or max_new_tokens < 1.
absl::StatusOr<std::unique_ptr<Sequence>> MakeGenerateSequence(
    GenerateTask task, int64_t chunk, GenerateDone done);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_GENERATE_H_
