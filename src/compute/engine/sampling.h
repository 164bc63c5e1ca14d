// Drawing the next token from a model's distribution. A draw depends on the
// row, the earlier tokens, the options and the number of the draw alone: the
// same in any batch. Pure functions; thread safe.
#ifndef DISSONANCE_COMPUTE_ENGINE_SAMPLING_H_
#define DISSONANCE_COMPUTE_ENGINE_SAMPLING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dissonance {

// Filters apply in this order, as transformers applies them: repetition
// penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double temperature = 0.0;         // 0: the most likely token
  int64_t top_k = 0;                // 0: all
  double top_p = 1.0;               // in (0, 1]; Holtzman et al. 2020
  double min_p = 0.0;               // in [0, 1]; Nguyen et al. 2024
  double repetition_penalty = 1.0;  // > 0; Keskar et al. 2019
  uint64_t seed = 0;

  // Whether the most likely token is all that is needed of a row.
  bool is_plain_greedy() const {
    return temperature == 0.0 && repetition_penalty == 1.0;
  }
};

// INVALID_ARGUMENT naming the option that is out of its range.
absl::Status CheckSampling(const SamplingOptions& options);

// The token after `tokens` (prompt and generated ones) from its logits
// [vocab], float32 or float64 on the CPU. `draw` counts the generated tokens
// from 0. Computed in float64. Time O(vocab), O(vocab log vocab) with top_p.
int32_t SampleToken(const SamplingOptions& options, const at::Tensor& logits,
                    absl::Span<const int32_t> tokens, int64_t draw);

// The k most likely tokens of logprobs [vocab], best first, lower ids first
// among equals.
std::vector<std::pair<int32_t, double>> TopTokens(const at::Tensor& logprobs,
                                                  int64_t k);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_SAMPLING_H_
