// The chat endpoints that the configuration and the environment name, with
// their keys, which are nowhere else. For the start, before there are threads.
//
//   ASSIGN_OR_RETURN(auto endpoints, TakeChatEndpoints(config));
//   ChatEndpoints clients(std::move(endpoints));
#ifndef DISSONANCE_SERVER_CONTROL_LLM_ENDPOINTS_H_
#define DISSONANCE_SERVER_CONTROL_LLM_ENDPOINTS_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "server/control/config.h"
#include "src/lab/llm/chat_endpoint.h"

namespace dissonance {

// By name. Unless the configuration has one, "default" is what OPENAI_BASE_URL,
// OPENAI_API_KEY and OpenRouter's variables say, if they are set. Keys are
// wiped from the environment, so that neither children nor /proc have them; a
// process that holds one leaves no core dump and is read by no other of its
// user's. NOT_FOUND or INVALID_ARGUMENT, naming the endpoint, for a key that is
// not there, and for what CheckEndpoint refuses.
absl::StatusOr<std::map<std::string, ChatEndpoint>> TakeChatEndpoints(
    const Config& config);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LLM_ENDPOINTS_H_
