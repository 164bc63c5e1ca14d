#include "server/control/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/control/listeners.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

HttpResponse Plain(int code, absl::string_view body) {
  return {.code = code, .body = absl::StrCat(body, "\n")};
}

bool HasBody(MHD_Connection* connection) {
  const char* length = MHD_lookup_connection_value(
      connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  uint64_t bytes = 0;
  if (length != nullptr && (!absl::SimpleAtoi(length, &bytes) || bytes > 0)) {
    return true;
  }
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                     MHD_HTTP_HEADER_TRANSFER_ENCODING) !=
         nullptr;
}

bool IsRead(absl::string_view method) {
  return method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD;
}

HttpResponse Answer(const HttpServer::Routes& routes,
                    MHD_Connection* connection, const char* path,
                    absl::string_view method) {
  const auto route = routes.find(absl::string_view(path));
  if (route == routes.end()) return Plain(404, "there is nothing here");
  if (!IsRead(method)) return Plain(405, "only GET and HEAD are answered");
  if (HasBody(connection)) return Plain(413, "a GET has no body");
  try {
    return route->second({.path = path});
  } catch (const std::exception& e) {
    Log(LogLevel::kError, "an HTTP request failed",
        {{"path", route->first}, {"why", e.what()}});
    return Plain(500, "failed; the server's log says why");
  }
}

MHD_Result Send(MHD_Connection* connection, const HttpResponse& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()),
      MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  const absl::Cleanup destroy = [response] { MHD_destroy_response(response); };
  const auto add = [response](const char* name, const char* value) {
    MHD_add_response_header(response, name, value);
  };
  add(MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type.c_str());
  add(MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  add("X-Content-Type-Options", "nosniff");
  if (answer.code == MHD_HTTP_METHOD_NOT_ALLOWED) {
    add(MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  return MHD_queue_response(connection, static_cast<unsigned int>(answer.code),
                            response);
}

// Called by the daemon when a request's headers are there, and again at its
// end. An answer at the first call closes the connection: right for requests
// whose body is not wanted, but others may follow on the same connection.
MHD_Result OnRequest(void* routes, MHD_Connection* connection, const char* path,
                     const char* method, const char* /*version*/,
                     const char* /*upload*/, size_t* /*upload_size*/,
                     void** state) {
  if (*state == nullptr && IsRead(method) && !HasBody(connection)) {
    *state = routes;  // anything but null: seen before
    return MHD_YES;
  }
  return Send(connection,
              Answer(*static_cast<const HttpServer::Routes*>(routes),
                     connection, path, method));
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

HttpServer::HttpServer(Routes routes, int port)
    : routes_(std::move(routes)), port_(port) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    absl::string_view key, const std::string& address, Routes routes) {
  ASSIGN_OR_RETURN(const Socket socket, Listen(key, address));
  std::unique_ptr<HttpServer> server(
      new HttpServer(std::move(routes), socket.port));
  // From here on the daemon owns the socket.
  server->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, /*port=*/0,
      /*apc=*/nullptr, /*apc_cls=*/nullptr, &OnRequest,
      const_cast<Routes*>(&server->routes_), MHD_OPTION_LISTEN_SOCKET,
      socket.fd, MHD_OPTION_CONNECTION_LIMIT, kConnectionLimit,
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
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

}  // namespace dissonance
