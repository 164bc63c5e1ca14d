// Generation: a prompt's rows once, then one token after another, with a KV
// cache; activations of both on the way. With no new tokens asked for it is a
// plain forward pass.
#ifndef DISSONANCE_COMPUTE_ENGINE_GENERATE_H_
#define DISSONANCE_COMPUTE_ENGINE_GENERATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/compute/engine/sampling.h"
#include "src/compute/engine/sequence.h"

namespace dissonance {

struct GenerateTask {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_new_tokens = 16;  // 0: only the prompt is computed
  // Generation ends after one of these, which is part of the result.
  std::vector<int32_t> stop_tokens = {};
  SamplingOptions sampling = {};
  int64_t top_logprobs = 0;      // most likely tokens beside each one
  bool prompt_logprobs = false;  // of the prompt's tokens from the second on
  std::shared_ptr<const CaptureSpec> capture = nullptr;
  // The last token is fed back too, so that its rows are kept. Changes no
  // token.
  bool feeds_last = false;
};

// A token with log P(token | everything before) in the model's own
// distribution, before temperature and filters; nats.
struct GeneratedToken {
  int32_t token = 0;
  double logprob = 0.0;
  std::vector<std::pair<int32_t, double>> top;  // best first
};

enum class FinishReason { kLength, kStopToken, kListener };

// Who asked. Called on the engine's thread, but for ready(), and must be quick.
class GenerateListener {
 public:
  virtual ~GenerateListener() = default;
  // Whether more can be taken; the sequence waits until it can (see
  // Engine::Wake). Any thread.
  virtual bool ready() const { return true; }
  // A token of the prompt, in order, from the second on.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): overrides keep it
  virtual void OnPromptToken(GeneratedToken /*token*/) {}
  // A new token. False: enough.
  virtual bool OnToken(GeneratedToken token) = 0;
  // Rows that were kept, in the order of their positions; not called for none.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): overrides keep it
  virtual void OnCaptured(CapturedRows /*rows*/) {}
  // Once, last.
  virtual void OnEnd(absl::StatusOr<FinishReason> reason) = 0;
};

// INVALID_ARGUMENT for an empty prompt, max_new_tokens < 0, or what
// CheckSampling says.
absl::StatusOr<std::unique_ptr<Sequence>> MakeGenerateSequence(
    GenerateTask task, std::shared_ptr<GenerateListener> listener);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_ENGINE_GENERATE_H_
