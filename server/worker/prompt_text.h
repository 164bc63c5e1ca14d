// Prompts of requests as text and token ids. Thread safe.
//
//   ASSIGN_OR_RETURN(EncodedPrompt prompt, EncodePrompt(model, input, limits));
//   prompt.tokens;
#ifndef DISSONANCE_SERVER_WORKER_PROMPT_TEXT_H_
#define DISSONANCE_SERVER_WORKER_PROMPT_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"
#include "server/worker/model_registry.h"

namespace dissonance {

// What one request may ask for. Messages name the limit that was passed.
struct RequestLimits {
  int64_t text_bytes = 1 << 20;    // of one text or rendered conversation
  int64_t items = 100'000;         // of one Score request
  int64_t continuations = 10'000;  // of one item
  int64_t tokens = 16 << 20;       // to compute, over variants and samples
};

struct EncodedPrompt {
  std::vector<int32_t> tokens;
  // What `tokens` encodes; not there for a prompt of token ids.
  std::optional<std::string> text;
  bool add_special_tokens = false;  // how it was encoded
};

// FAILED_PRECONDITION for a model without tokenizer or chat template.
absl::StatusOr<const Tokenizer*> TokenizerOf(const ResidentModel& model);

// RESOURCE_EXHAUSTED: `found` of `what`, more than limits.<key> allows.
absl::Status OverLimit(absl::string_view what, int64_t found, int64_t limit,
                       absl::string_view key);

// RESOURCE_EXHAUSTED if `text` is over the limit.
absl::Status CheckText(absl::string_view text, const RequestLimits& limits);

// INVALID_ARGUMENT with the template's own message where it raises. `now` is
// as ChatTemplate::Render takes it.
absl::StatusOr<std::string> RenderChat(
    const ResidentModel& model, const v1::Chat& chat,
    const RequestLimits& limits, std::optional<int64_t> now = std::nullopt);

absl::StatusOr<EncodedPrompt> EncodePrompt(const ResidentModel& model,
                                           const v1::Input& input,
                                           const RequestLimits& limits);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_PROMPT_TEXT_H_
