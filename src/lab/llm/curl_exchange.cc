#include "src/lab/llm/curl_exchange.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace dissonance {
namespace {

constexpr size_t kMostBytes = 16 << 20;

absl::Status NoMemory() {
  return absl::ResourceExhaustedError("libcurl has no memory for a call");
}

// Another try can't help: the other side is not who it should be, or libcurl
// was told nonsense.
bool IsLasting(CURLcode code) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return true;
    default:
      return false;
  }
}

long Milliseconds(absl::Duration time) {
  return static_cast<long>(absl::ToInt64Milliseconds(time));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CurlExchange>> CurlExchange::Create(
    const ChatEndpoint& endpoint, const std::string& body,
    const std::string& call) {
  std::unique_ptr<CurlExchange> made(new CurlExchange);
  made->base_url_ = endpoint.base_url;
  made->key_ = endpoint.key;
  made->handle_.reset(curl_easy_init());
  bool is_made = made->handle_ != nullptr &&
                 made->AddHeader("Content-Type: application/json") &&
                 made->AddHeader("Accept: application/json") &&
                 made->AddHeader("Expect:") &&
                 made->AddHeader(absl::StrCat("Idempotency-Key: ", call));
  for (const auto& [name, text] : endpoint.headers) {
    is_made = is_made && made->AddHeader(absl::StrCat(name, ": ", text));
  }
  if (!endpoint.key.empty()) {
    is_made = is_made && made->AddHeader(absl::StrCat("Authorization: Bearer ",
                                                      endpoint.key.Reveal()));
  }
  if (!is_made || !made->SetOptions(endpoint, body)) return NoMemory();
  return made;
}

bool CurlExchange::AddHeader(const std::string& line) {
  curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
  if (longer == nullptr) return false;
  static_cast<void>(headers_.release());
  headers_.reset(longer);
  return true;
}

bool CurlExchange::SetOptions(const ChatEndpoint& endpoint,
                              const std::string& body) {
  bool is_set = true;
  const auto set = [&](CURLoption option, auto value) {
    is_set &= curl_easy_setopt(handle_.get(), option, value) == CURLE_OK;
  };
  const std::string url = absl::StrCat(
      absl::StripSuffix(endpoint.base_url, "/"), "/chat/completions");
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  // The handshake says whether calls can share a connection; without one it
  // would take the first answer to know.
  set(CURLOPT_PIPEWAIT, absl::StartsWith(url, "https:") ? 1L : 0L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_ACCEPT_ENCODING, "");
  set(CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(endpoint.connect_timeout));
  set(CURLOPT_TIMEOUT_MS, Milliseconds(endpoint.timeout));
  if (!endpoint.ca_file.empty()) {
    set(CURLOPT_CAINFO, endpoint.ca_file.c_str());
  }
  set(CURLOPT_HTTPHEADER, headers_.get());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  set(CURLOPT_POSTFIELDS, body.c_str());
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_WRITEFUNCTION, &CurlExchange::OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &CurlExchange::OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  return is_set;
}

size_t CurlExchange::OnBody(char* bytes, size_t size, size_t count,
                            void* self) {
  auto* own = static_cast<CurlExchange*>(self);
  own->is_too_long_ = own->body_.size() + size * count > kMostBytes;
  if (own->is_too_long_) return 0;
  own->body_.append(bytes, size * count);
  return size * count;
}

size_t CurlExchange::OnHeader(char* bytes, size_t size, size_t count,
                              void* self) {
  auto* own = static_cast<CurlExchange*>(self);
  const absl::string_view line(bytes, size * count);
  constexpr absl::string_view kName = "retry-after:";
  if (absl::StartsWithIgnoreCase(line, kName)) {
    own->retry_after_ = ParseRetryAfter(line.substr(kName.size()), absl::Now());
  }
  return size * count;
}

absl::Status CurlExchange::TransportStatus(CURLcode code) const {
  if (code == CURLE_OK) return absl::OkStatus();
  if (is_too_long_) {
    return absl::InvalidArgumentError(
        absl::StrCat(base_url_, " answered with more than ", kMostBytes,
                     " bytes; ask for shorter replies"));
  }
  const std::string why =
      absl::StrCat("no answer from ", base_url_, ": ",
                   error_[0] == '\0' ? curl_easy_strerror(code) : error_);
  if (!IsLasting(code)) return absl::UnavailableError(why);
  return absl::FailedPreconditionError(absl::StrCat(
      why, "; check the base URL, and the authorities that are trusted"));
}

HttpOutcome CurlExchange::Finish(CURLcode code) {
  HttpOutcome outcome{.transport = TransportStatus(code)};
  long http = 0;
  curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &http);
  outcome.code = static_cast<int>(http);
  outcome.retry_after = retry_after_;
  outcome.body = std::move(body_);
  // Whatever an endpoint repeats of it is stored and shown.
  if (!key_.empty()) {
    outcome.body = absl::StrReplaceAll(outcome.body, {{key_.Reveal(), "***"}});
  }
  return outcome;
}

}  // namespace dissonance
