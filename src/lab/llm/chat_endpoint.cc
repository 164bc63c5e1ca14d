#include "src/lab/llm/chat_endpoint.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

constexpr absl::string_view kOpenAi = "https://api.openai.com/v1";
constexpr absl::string_view kOpenRouter = "https://openrouter.ai/api/v1";

bool IsLoopback(absl::string_view host_and_path) {
  for (const absl::string_view host : {"127.0.0.1", "localhost", "[::1]"}) {
    absl::string_view rest = host_and_path;
    if (absl::ConsumePrefix(&rest, host) &&
        (rest.empty() || rest[0] == ':' || rest[0] == '/')) {
      return true;
    }
  }
  return false;
}

bool IsOneLine(absl::string_view text) {
  return text.find_first_of(absl::string_view("\r\n\0", 3)) ==
         absl::string_view::npos;
}

}  // namespace

void FillFromEnvironment(const Environment& get, ChatEndpoint& endpoint) {
  const auto value = [&get](const char* name) {
    return get(name).value_or("");
  };
  if (endpoint.base_url.empty()) endpoint.base_url = value("OPENAI_BASE_URL");
  if (endpoint.key.empty()) {
    std::string key = value("OPENAI_API_KEY");
    if (key.empty()) {
      key = value("OPENROUTER_API_KEY");
      if (!key.empty() && endpoint.base_url.empty()) {
        endpoint.base_url = std::string(kOpenRouter);
      }
    }
    endpoint.key = Secret(std::move(key));
  }
  if (endpoint.base_url.empty()) endpoint.base_url = std::string(kOpenAi);
  const std::pair<const char*, const char*> headers[] = {
      {"HTTP-Referer", "OPENROUTER_HTTP_REFERER"},
      {"X-Title", "OPENROUTER_X_TITLE"}};
  for (const auto& [header, name] : headers) {
    if (std::string text = value(name); !text.empty()) {
      endpoint.headers.try_emplace(header, std::move(text));
    }
  }
}

absl::Status CheckEndpoint(const ChatEndpoint& endpoint) {
  absl::string_view rest = endpoint.base_url;
  const bool is_tls = absl::ConsumePrefix(&rest, "https://");
  if (!is_tls && !absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the endpoint's base URL is \"", endpoint.base_url,
        "\"; give one that begins with https://, or http:// on this "
        "machine, e.g. ",
        kOpenAi));
  }
  if (rest.find('@') != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        "the endpoint's base URL holds a user or a password; give the key in "
        "OPENAI_API_KEY or in a file of its own");
  }
  if (!is_tls && !endpoint.key.empty() && !IsLoopback(rest)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the key would go to ", endpoint.base_url,
        " unencrypted; use https://, or an endpoint on this machine"));
  }
  if (!IsOneLine(endpoint.key.Reveal())) {
    return absl::InvalidArgumentError(
        "the endpoint's key is more than one line; give the key alone");
  }
  for (const auto& [name, text] : endpoint.headers) {
    if (!IsOneLine(name) || !IsOneLine(text)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the header \"", name, "\" is more than one line"));
    }
  }
  return absl::OkStatus();
}

}  // namespace dissonance
