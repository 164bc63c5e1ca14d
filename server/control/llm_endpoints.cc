#include "server/control/llm_endpoints.h"

#include <string.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/secret.h"
#include "src/base/status_macros.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {
namespace {

constexpr uint64_t kKeyLimitBytes = 64 << 10;
constexpr const char* kKeyVariables[] = {"OPENAI_API_KEY",
                                         "OPENROUTER_API_KEY"};

std::optional<std::string> Variable(const std::string& name) {
  const char* value = ::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

// Where it lies too, which /proc shows.
void WipeVariable(const std::string& name) {
  if (char* value = ::getenv(name.c_str()); value != nullptr) {
    ::explicit_bzero(value, ::strlen(value));
  }
  ::unsetenv(name.c_str());
}

absl::StatusOr<Secret> KeyOf(const LlmConfig& llm) {
  if (!llm.api_key_env.empty()) {
    std::optional<std::string> key = Variable(llm.api_key_env);
    if (!key.has_value() || key->empty()) {
      return absl::NotFoundError(absl::StrCat(
          "api_key_env names ", llm.api_key_env,
          ", which is not set; set it and start the server again"));
    }
    return Secret(*std::move(key));
  }
  if (llm.api_key_file.empty()) return Secret();
  ASSIGN_OR_RETURN(std::string key, ReadFile(llm.api_key_file, kKeyLimitBytes));
  const std::string stripped(absl::StripAsciiWhitespace(key));
  ::explicit_bzero(key.data(), key.size());
  if (stripped.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(llm.api_key_file, ", which api_key_file names, is empty"));
  }
  return Secret(stripped);
}

absl::StatusOr<ChatEndpoint> EndpointOf(const LlmConfig& llm) {
  ChatEndpoint endpoint;
  endpoint.base_url = llm.base_url;
  ASSIGN_OR_RETURN(endpoint.key, KeyOf(llm));
  endpoint.ca_file = llm.ca_file;
  endpoint.json_mode = llm.json_mode;
  endpoint.in_flight = llm.in_flight;
  endpoint.requests_per_minute = llm.requests_per_minute;
  endpoint.tokens_per_minute = llm.tokens_per_minute;
  endpoint.timeout = absl::Seconds(llm.timeout_seconds);
  endpoint.patience = absl::Seconds(llm.patience_seconds);
  if (llm.prompt_price > 0) endpoint.prompt_price = llm.prompt_price;
  if (llm.completion_price > 0) {
    endpoint.completion_price = llm.completion_price;
  }
  return endpoint;
}

bool EnvironmentNamesAnEndpoint() {
  return Variable("OPENAI_BASE_URL").has_value() ||
         Variable("OPENAI_API_KEY").has_value() ||
         Variable("OPENROUTER_API_KEY").has_value();
}

}  // namespace

absl::StatusOr<std::map<std::string, ChatEndpoint>> TakeChatEndpoints(
    const Config& config) {
  std::map<std::string, ChatEndpoint> endpoints;
  std::set<std::string> variables(std::begin(kKeyVariables),
                                  std::end(kKeyVariables));
  for (const auto& [name, llm] : config.llm) {
    absl::StatusOr<ChatEndpoint> endpoint = EndpointOf(llm);
    RETURN_IF_ERROR(
        Annotate(endpoint.status(), absl::StrCat("[llm.", name, "]")));
    endpoints[name] = *std::move(endpoint);
    if (!llm.api_key_env.empty()) variables.insert(llm.api_key_env);
  }
  if (endpoints.find(ChatEndpoints::kDefault) == endpoints.end() &&
      EnvironmentNamesAnEndpoint()) {
    FillFromEnvironment(Variable, endpoints[ChatEndpoints::kDefault]);
  }
  for (const std::string& name : variables) WipeVariable(name);
  bool holds_key = false;
  for (const auto& [name, endpoint] : endpoints) {
    RETURN_IF_ERROR(Annotate(CheckEndpoint(endpoint),
                             absl::StrCat("chat endpoint ", name)));
    holds_key = holds_key || !endpoint.key.empty();
  }
  if (holds_key && ::prctl(PR_SET_DUMPABLE, 0) != 0) {
    return absl::ErrnoToStatus(errno, "cannot forbid core dumps of the keys");
  }
  return endpoints;
}

}  // namespace dissonance
