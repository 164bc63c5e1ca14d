// One POST with libcurl: what is sent, and what comes back. Lives while its
// handle is in a multi handle. One thread at a time.
#ifndef DISSONANCE_LAB_LLM_CURL_EXCHANGE_H_
#define DISSONANCE_LAB_LLM_CURL_EXCHANGE_H_

#include <curl/curl.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "src/lab/llm/chat_endpoint.h"
#include "src/lab/llm/http_outcome.h"

namespace dissonance {

class CurlExchange {
 public:
  // `call` names the call, the same for each of its tries, so that an endpoint
  // that knows the header bills it once. Borrows endpoint and body.
  // RESOURCE_EXHAUSTED if libcurl has no memory.
  static absl::StatusOr<std::unique_ptr<CurlExchange>> Create(
      const ChatEndpoint& endpoint, const std::string& body,
      const std::string& call);
  CurlExchange(const CurlExchange&) = delete;
  CurlExchange& operator=(const CurlExchange&) = delete;

  CURL* handle() const { return handle_.get(); }

  // Once the transfer has ended with `code`.
  HttpOutcome Finish(CURLcode code);

 private:
  struct EndHandle {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  struct EndList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  CurlExchange() = default;
  bool AddHeader(const std::string& line);
  bool SetOptions(const ChatEndpoint& endpoint, const std::string& body);
  absl::Status TransportStatus(CURLcode code) const;

  static size_t OnBody(char* bytes, size_t size, size_t count, void* self);
  static size_t OnHeader(char* bytes, size_t size, size_t count, void* self);

  std::string base_url_;
  Secret key_;
  std::unique_ptr<CURL, EndHandle> handle_;
  std::unique_ptr<curl_slist, EndList> headers_;
  std::string body_;
  std::optional<absl::Duration> retry_after_;
  bool is_too_long_ = false;
  char error_[CURL_ERROR_SIZE] = {};
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CURL_EXCHANGE_H_
