#include "server/control/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/control/http_exchange.h"
#include "server/control/listeners.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Time for answers on their way to reach their clients.
constexpr absl::Duration kGoodbye = absl::Seconds(1);

// Called by the daemon when a request's headers are there, for each piece of
// its body, and at its end.
MHD_Result OnRequest(void* server, MHD_Connection* connection, const char* path,
                     const char* method, const char* /*version*/,
                     const char* upload, size_t* upload_size, void** state) {
  auto* exchange = static_cast<HttpExchange*>(*state);
  if (exchange == nullptr) {
    exchange = new HttpExchange(*static_cast<HttpServer*>(server), connection,
                                path, method);
    *state = exchange;  // OnCompleted deletes it
    return exchange->Begin();
  }
  if (*upload_size == 0) return exchange->Answer();
  exchange->AddBody({upload, *upload_size});
  *upload_size = 0;
  return MHD_YES;
}

// However the request ended.
void OnCompleted(void* /*server*/, MHD_Connection* /*connection*/, void** state,
                 MHD_RequestTerminationCode /*how*/) {
  delete static_cast<HttpExchange*>(*state);
  *state = nullptr;
}

absl::Status CannotListen(absl::string_view key, const std::string& address) {
  return absl::UnavailableError(absl::StrCat(
      key, ": cannot listen on ", address, ": ", std::strerror(errno),
      "; choose another port, or \"\" for none"));
}

struct Socket {
  int fd;
  int port;
};

absl::StatusOr<Socket> Listen(absl::string_view key,
                              const std::string& address) {
  RETURN_IF_ERROR(CheckLoopback(key, address));
  ASSIGN_OR_RETURN(const SocketAddress where, Resolve(key, address));
  const int fd = ::socket(where.storage.ss_family,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return CannotListen(key, address);
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  SocketAddress bound = where;
  if (::bind(fd, where.get(), where.size) != 0 ||
      ::listen(fd, SOMAXCONN) != 0 ||
      ::getsockname(fd, bound.get(), &bound.size) != 0) {
    return CannotListen(key, address);
  }
  std::move(close_fd).Cancel();
  return Socket{.fd = fd, .port = bound.port()};
}

}  // namespace

HttpServer::HttpServer(HttpRoutes routes, int port)
    : routes_(std::move(routes)), port_(port) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    absl::string_view key, const std::string& address, HttpRoutes routes) {
  ASSIGN_OR_RETURN(const Socket socket, Listen(key, address));
  std::unique_ptr<HttpServer> server(
      new HttpServer(std::move(routes), socket.port));
  // From here on the daemon owns the socket.
  server->daemon_ = MHD_start_daemon(
      MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
          MHD_USE_POLL | MHD_USE_ITC,
      /*port=*/0, /*apc=*/nullptr, /*apc_cls=*/nullptr, &OnRequest,
      server.get(), MHD_OPTION_LISTEN_SOCKET, socket.fd,
      MHD_OPTION_NOTIFY_COMPLETED, &OnCompleted, server.get(),
      MHD_OPTION_CONNECTION_LIMIT, kConnectionLimit,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kHeaderLimitBytes,
      MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds, MHD_OPTION_STRICT_FOR_CLIENT,
      1, MHD_OPTION_END);
  if (server->daemon_ == nullptr) {
    ::close(socket.fd);
    return CannotListen(key, address);
  }
  return server;
}

HttpServer::~HttpServer() {
  if (daemon_ == nullptr) return;
  const int listening = MHD_quiesce_daemon(daemon_);
  requests_.AwaitNone(kGoodbye);
  MHD_stop_daemon(daemon_);
  if (listening >= 0) ::close(listening);
}

}  // namespace dissonance
