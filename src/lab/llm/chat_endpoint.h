// Where a language model is asked, and how hard. Values; thread safe.
#ifndef DISSONANCE_LAB_LLM_CHAT_ENDPOINT_H_
#define DISSONANCE_LAB_LLM_CHAT_ENDPOINT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/base/secret.h"

namespace dissonance {

struct ChatEndpoint {
  // What "/chat/completions" is added to, e.g. "https://api.openai.com/v1".
  std::string base_url = {};
  Secret key = {};  // sent as a bearer token; empty: none
  // Sent with each request, e.g. "HTTP-Referer", to say whose it is.
  std::map<std::string, std::string> headers = {};
  // PEM file of the authorities to trust; empty: the system's.
  std::string ca_file = {};

  // US dollars per million tokens, for estimates and where the endpoint does
  // not tell what a call cost; unset: not known.
  std::optional<double> prompt_price = std::nullopt;
  std::optional<double> completion_price = std::nullopt;

  // Whether it knows response_format, which asks for JSON; without, the prompt
  // alone asks for it.
  bool json_mode = true;

  int64_t in_flight = 20;          // calls at a time
  double requests_per_minute = 0;  // 0: no limit
  double tokens_per_minute = 0;    // of prompts and replies; 0: no limit
  int64_t tries = 5;               // of one call, where it fails otherwise
                                   // than by being told to wait
  absl::Duration patience = absl::Hours(1);  // of one call told to wait
  absl::Duration connect_timeout = absl::Seconds(15);
  absl::Duration timeout = absl::Minutes(5);  // of one try, whole
  absl::Duration first_backoff = absl::Milliseconds(500);
  absl::Duration longest_backoff = absl::Seconds(60);
};

// Fills in what is unset from the environment: base_url from OPENAI_BASE_URL,
// the key from OPENAI_API_KEY, or else OPENROUTER_API_KEY with OpenRouter's
// address; HTTP-Referer and X-Title from OPENROUTER_HTTP_REFERER and
// OPENROUTER_X_TITLE. `get` is getenv, or a test's.
using Environment =
    std::function<std::optional<std::string>(const std::string& name)>;
void FillFromEnvironment(const Environment& get, ChatEndpoint& endpoint);

// INVALID_ARGUMENT for what no call could be made with: an address that is not
// http or https, a key that would go over the network unencrypted, a header
// that is not one line.
absl::Status CheckEndpoint(const ChatEndpoint& endpoint);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CHAT_ENDPOINT_H_
