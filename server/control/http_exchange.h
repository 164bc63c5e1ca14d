// One request on its way through the HTTP server, from its headers to the last
// byte of its answer. Lives on its connection's thread. Borrows the server and
// the connection. See http_server.cc for how it is driven.
#ifndef DISSONANCE_SERVER_CONTROL_HTTP_EXCHANGE_H_
#define DISSONANCE_SERVER_CONTROL_HTTP_EXCHANGE_H_

#include <microhttpd.h>

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/control/http_server.h"

namespace dissonance {

class HttpExchange {
 public:
  HttpExchange(HttpServer& server, MHD_Connection* connection, const char* path,
               const char* method);
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  // When the headers are there: takes the body, or answers now, which closes
  // the connection.
  MHD_Result Begin();
  // A piece of the body.
  void AddBody(absl::string_view piece);
  // The request is whole.
  MHD_Result Answer();

 private:
  // What there is to say before the body comes; nullopt: nothing.
  std::optional<HttpResponse> Refusal();
  std::optional<HttpResponse> RefusePost(const HttpPost& post);
  HttpResponse Handle();
  MHD_Result Send(HttpResponse answer);

  HttpServer& server_;
  MHD_Connection* const connection_;
  const std::string method_;
  HttpRequest request_;
  // Of the route; both null: there is none.
  const HttpHandler* get_ = nullptr;
  const HttpPost* post_ = nullptr;
  // Sent in place of the handler's answer.
  std::optional<HttpResponse> refusal_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_HTTP_EXCHANGE_H_
