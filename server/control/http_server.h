// A small HTTP server for what machines and browsers ask without gRPC, on this
// machine only: nobody is asked for a token there. One thread serves all
// connections, so a handler has to be quick; connections, headers and idle time
// are bounded. Thread safe.
//
//   ASSIGN_OR_RETURN(
//       auto server,
//       HttpServer::Start("http_listen", "127.0.0.1:9464",
//                         {{"/healthz", [](const HttpRequest&) {
//                             return HttpResponse{.body = "ok\n"};
//                           }}}));
#ifndef DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_
#define DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct MHD_Daemon;

namespace dissonance {

// A GET, or a HEAD, whose answer's body is left out.
struct HttpRequest {
  std::string path;  // unescaped, without what follows '?'
};

struct HttpResponse {
  int code = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

class HttpServer {
 public:
  // Called on the server's thread, one at a time. What it throws is answered
  // with 500.
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  // By the whole path.
  using Routes = std::map<std::string, Handler, std::less<>>;

  // Connections at a time; further ones wait to be accepted.
  static constexpr unsigned int kConnectionLimit = 64;
  // Request line and headers together; more is answered with 413 to 431.
  static constexpr size_t kHeaderLimitBytes = 16 << 10;
  // Of silence, after which a connection is closed.
  static constexpr unsigned int kIdleSeconds = 15;

  // Listens and answers from now on: another path with 404, another method with
  // 405, a request with a body with 413. `key` is the configuration's, for
  // messages. INVALID_ARGUMENT for an address that is not HOST:PORT on
  // loopback; UNAVAILABLE if the port can't be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      absl::string_view key, const std::string& address, Routes routes);
  // Closes all connections.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The one that port 0 became.
  int port() const { return port_; }

 private:
  HttpServer(Routes routes, int port);

  const Routes routes_;
  const int port_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_HTTP_SERVER_H_
