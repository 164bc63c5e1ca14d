// Errors as OpenAI's API gives them: {"error": {message, type, param, code}}
// and the HTTP code that belongs to it. Thread safe.
//
//   if (!status.ok()) return OpenAiError(status);
#ifndef DISSONANCE_SERVER_CONTROL_OPENAI_ERROR_H_
#define DISSONANCE_SERVER_CONTROL_OPENAI_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "server/control/http_server.h"

namespace dissonance {

// INVALID_ARGUMENT about a field of the request, which the answer gives as its
// `param`.
absl::Status BadField(absl::string_view field, absl::string_view why);

// The body of an error's answer.
nlohmann::json OpenAiErrorBody(const absl::Status& status);

// The whole answer. 429 and 503 say when to try again.
HttpResponse OpenAiError(const absl::Status& status);
// The same with another HTTP code, e.g. 413.
HttpResponse OpenAiError(int http_code, const absl::Status& status);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPENAI_ERROR_H_
