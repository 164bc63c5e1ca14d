#include "src/lab/llm/http_outcome.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

using Next = TryVerdict::Next;

// RFC 9110's preferred form.
constexpr char kHttpDate[] = "%a, %d %b %Y %H:%M:%S GMT";

std::string Told(const HttpOutcome& outcome) {
  const std::string text = ChatErrorText(outcome.body);
  return absl::StrCat("the endpoint answered ", outcome.code,
                      text.empty() ? "" : ": ", text);
}

absl::StatusCode CodeOf(int http) {
  switch (http) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 402:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kInvalidArgument;
  }
}

absl::string_view Advice(const HttpOutcome& outcome) {
  if (outcome.code == 400 &&
      absl::StrContains(outcome.body, "response_format")) {
    return "; set json_mode = false for this endpoint in the server's "
           "configuration";
  }
  switch (outcome.code) {
    case 401:
      return "; check the key that the server was started with";
    case 404:
      return "; check the endpoint's base URL and the model's name";
    default:
      return "";
  }
}

bool IsPassing(int http) {
  return http == 408 || http == 409 || http == 425 || http >= 500;
}

}  // namespace

TryVerdict JudgeTry(const HttpOutcome& outcome) {
  if (!outcome.transport.ok()) {
    const bool passes = absl::IsUnavailable(outcome.transport);
    return {.next = passes ? Next::kRetry : Next::kEnd,
            .reply = outcome.transport};
  }
  if (outcome.code == 200) {
    absl::StatusOr<ChatReply> reply = ParseChatReply(outcome.body);
    const bool is_whole = reply.ok();
    return {.next = is_whole ? Next::kEnd : Next::kRetry,
            .reply = std::move(reply)};
  }
  if (outcome.code == 429 &&
      absl::StrContains(outcome.body, "insufficient_quota")) {
    return {.reply = absl::ResourceExhaustedError(Told(outcome))};
  }
  if (outcome.code == 429 ||
      (outcome.code == 503 && outcome.retry_after.has_value())) {
    return {.next = Next::kWait,
            .reply = absl::ResourceExhaustedError(Told(outcome)),
            .pause = outcome.retry_after};
  }
  if (IsPassing(outcome.code)) {
    return {.next = Next::kRetry,
            .reply = absl::UnavailableError(Told(outcome))};
  }
  return {.reply = absl::Status(CodeOf(outcome.code),
                                absl::StrCat(Told(outcome), Advice(outcome)))};
}

std::optional<absl::Duration> ParseRetryAfter(absl::string_view text,
                                              absl::Time now) {
  text = absl::StripAsciiWhitespace(text);
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds) && seconds >= 0) {
    return absl::Seconds(seconds);
  }
  absl::Time when;
  std::string error;
  if (!absl::ParseTime(kHttpDate, text, &when, &error)) return std::nullopt;
  return std::max(when - now, absl::ZeroDuration());
}

}  // namespace dissonance
