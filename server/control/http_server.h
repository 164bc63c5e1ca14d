// A small HTTP server on this machine only: what machines and browsers ask
// without gRPC, and OpenAI's API. Every connection has a thread of its own, so
// a handler may take its time and holds up nobody but its own client;
// connections, headers, bodies and idle time are bounded. Nobody is asked for a
// token here: a handler looks at `authorization`. Thread safe.
//
//   ASSIGN_OR_RETURN(
//       auto server,
//       HttpServer::Start("http_listen", "127.0.0.1:9464",
//                         {.gets = {{"/healthz", [](const HttpRequest&) {
//                                      return HttpResponse{.body = "ok\n"};
//                                    }}}}));
#ifndef DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_
#define DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/control/rpc_log.h"

struct MHD_Daemon;

namespace dissonance {

// A GET; a HEAD, whose answer's body is left out; or a POST.
struct HttpRequest {
  std::string path;                // unescaped, without what follows '?'
  std::string name = {};           // what the route's "*" stands for
  std::string authorization = {};  // that header; empty: none
  std::string body = {};           // of a POST
  // Another header's value; empty: none.
  std::function<std::string(const char* name)> header = [](const char*) {
    return std::string();
  };
  // Whether the client went away, so that nobody will read the answer.
  std::function<bool()> is_gone = [] { return false; };
};

struct HttpResponse {
  int code = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  // In place of the body: its next piece, waited for; empty at its end. Is
  // destroyed, without its end, when the client goes away or does not read.
  std::function<std::string()> next_piece = nullptr;
  // Of all pieces, where it is known: a client sees then when some are missing.
  std::optional<uint64_t> size_bytes = std::nullopt;
};

// Called on the connection's thread. What it throws is answered with 500.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct HttpPost {
  // A longer body is refused with 413 before it comes.
  size_t body_limit_bytes = 0;
  // Asked before the body comes; an answer is a refusal.
  std::function<std::optional<HttpResponse>(const HttpRequest&)> refuse;
  HttpHandler handler;
  // How the server's own refusals are worded: by code and message.
  std::function<HttpResponse(int, const std::string&)> error;
};

// By the whole path, in which "*" stands for any one name between slashes:
// "/jobs/*". Caches keep no answer unless its headers have a Cache-Control.
struct HttpRoutes {
  std::map<std::string, HttpHandler, std::less<>> gets = {};
  std::map<std::string, HttpPost, std::less<>> posts = {};
};

class HttpServer {
 public:
  // Connections at a time; further ones are closed at once.
  static constexpr unsigned int kConnectionLimit = 256;
  // POSTs at a time, fewer than connections so that /healthz is answered
  // still; further ones are refused with 503.
  static constexpr int kPostLimit = 192;
  // Request line and headers together; more is answered with 413 to 431.
  static constexpr size_t kHeaderLimitBytes = 16 << 10;
  // Of silence of the client's, after which a connection is closed.
  static constexpr unsigned int kIdleSeconds = 15;

  // Listens and answers from now on: another path with 404, another method with
  // 405, a GET with a body with 413, a POST that does not say how long its body
  // is with 411. `key` is the configuration's, for messages. INVALID_ARGUMENT
  // for an address that is not HOST:PORT on loopback; UNAVAILABLE if the port
  // can't be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      absl::string_view key, const std::string& address, HttpRoutes routes);
  // Accepts nothing more, gives requests in flight a second to their end, and
  // closes all connections.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The one that port 0 became.
  int port() const { return port_; }

 private:
  friend class HttpExchange;
  HttpServer(HttpRoutes routes, int port);

  const HttpRoutes routes_;
  const int port_;
  CallCount requests_;
  CallCount posts_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_
