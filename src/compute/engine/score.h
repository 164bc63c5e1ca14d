// Scoring: log-probabilities of many continuations of one prompt. The prompt
// goes through the network once; the continuations hang on its last token as a
// tree in which equal beginnings are shared, so that the sixteen letter
// variants of a multiple-choice item cost one row beside the prompt.
#ifndef DISSONANCE_COMPUTE_ENGINE_SCORE_H_
#define DISSONANCE_COMPUTE_ENGINE_SCORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/engine/sequence.h"

namespace dissonance {

struct ScoreTask {
  std::vector<int32_t> prompt;                      // at least one token
  std::vector<std::vector<int32_t>> continuations;  // each at least one token
};

struct ContinuationResult {
  double logprob = 0.0;                // sum over tokens, nats
  std::vector<double> token_logprobs;  // log P(token | everything before)
  bool is_greedy = true;               // every token was the most likely
};

struct ScoreResult {
  std::vector<ContinuationResult> continuations;  // in the task's order
  int64_t computed_tokens = 0;                    // rows that were computed
};

// Tree rows of one sequence in one step. A continuation longer than this can
// only be scored alone, where it simply continues the prompt.
inline constexpr int64_t kTreeRowLimit = 512;

using ScoreDone = std::function<void(absl::StatusOr<ScoreResult>)>;

// INVALID_ARGUMENT for an empty prompt or continuation, or for several
// continuations of which one is longer than kTreeRowLimit tokens.
absl::StatusOr<std::unique_ptr<Sequence>> MakeScoreSequence(ScoreTask task,
                                                            ScoreDone done);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_SCORE_H_
