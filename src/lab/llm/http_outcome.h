// What an HTTP exchange with a chat endpoint came to, and what follows from it.
// Pure; thread safe.
#ifndef DISSONANCE_LAB_LLM_HTTP_OUTCOME_H_
#define DISSONANCE_LAB_LLM_HTTP_OUTCOME_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

struct HttpOutcome {
  // Why there was no answer, or none that is whole; UNAVAILABLE where another
  // try may help. OK: the rest holds.
  absl::Status transport;
  int code = 0;  // HTTP's
  std::string body = {};
  std::optional<absl::Duration> retry_after = std::nullopt;
};

// What to do about a try.
struct TryVerdict {
  enum class Next {
    kEnd,    // `reply` is what came of the call
    kRetry,  // after a pause that grows
    kWait,   // the endpoint asks for patience: `pause` if it says how much
  };
  Next next = Next::kEnd;
  absl::StatusOr<ChatReply> reply = absl::UnknownError("");
  std::optional<absl::Duration> pause = std::nullopt;
};

TryVerdict JudgeTry(const HttpOutcome& outcome);

// Of a Retry-After header: seconds, or a date, whose distance from `now` it is;
// never negative. nullopt for anything else.
std::optional<absl::Duration> ParseRetryAfter(absl::string_view text,
                                              absl::Time now);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_HTTP_OUTCOME_H_
