// OpenAI's HTTP API over the public one, for programs that speak only that:
// GET /v1/models, POST /v1/completions and POST /v1/chat/completions. Tokens,
// scopes, rates, quotas and names are those of the RPCs that a request becomes.
// docs/openai.md tells what of it there is. Thread safe.
//
//   OpenAiRoutes({.gate = api.gate(), .calls = api.local_calls(),
//                 .body_limit_bytes = 256 << 20})
#ifndef DISSONANCE_SERVER_CONTROL_OPENAI_API_H_
#define DISSONANCE_SERVER_CONTROL_OPENAI_API_H_

#include <cstddef>

#include "server/control/auth.h"
#include "server/control/http_server.h"
#include "server/control/local_calls.h"

namespace dissonance {

struct OpenAiParts {
  AuthGate& gate;
  LocalCalls& calls;
  size_t body_limit_bytes;
};

// Borrows gate and calls.
HttpRoutes OpenAiRoutes(const OpenAiParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPENAI_API_H_
