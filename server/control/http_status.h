// Statuses as HTTP says them. Thread safe.
//
//   HttpResponse answer = {.code = HttpCodeOf(status.code()), .body = ...};
//   AddErrorHeaders(status, answer);
#ifndef DISSONANCE_SERVER_CONTROL_HTTP_STATUS_H_
#define DISSONANCE_SERVER_CONTROL_HTTP_STATUS_H_

#include "absl/status/status.h"
#include "server/control/http_server.h"

namespace dissonance {

// E.g. 404 for NOT_FOUND; 500 for what has no code of its own.
int HttpCodeOf(absl::StatusCode code);

// When to try again, of 429 and 503; how to authenticate, of 401.
void AddErrorHeaders(const absl::Status& status, HttpResponse& answer);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_HTTP_STATUS_H_
