#include "server/control/http_status.h"

#include <string>

#include "absl/strings/cord.h"
#include "server/control/auth.h"

namespace dissonance {

int HttpCodeOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

void AddErrorHeaders(const absl::Status& status, HttpResponse& answer) {
  if (answer.code == 429 || answer.code == 503) {
    const auto after = status.GetPayload(kRetryAfter);
    answer.headers.emplace_back("Retry-After",
                                after.has_value() ? std::string(*after) : "1");
  }
  if (answer.code == 401) {
    answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  }
}

}  // namespace dissonance
