// A client of the server's HTTP port that sends what a test wants, well-formed
// or not.
#ifndef DISSONANCE_TESTS_TESTING_HTTP_CLIENT_H_
#define DISSONANCE_TESTS_TESTING_HTTP_CLIENT_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// One connection to a port of this machine, closed at the end.
class HttpConnection {
 public:
  explicit HttpConnection(int port)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address),
                           sizeof(address)) == 0;
  }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;
  ~HttpConnection() { ::close(fd_); }

  bool connected() const { return connected_; }
  // False once the other side has closed.
  bool Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent =
          ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // What comes until `end` has come, or the other side closes.
  std::string ReceiveUntil(absl::string_view end) {
    std::string answer;
    char buffer[4096];
    while (end.empty() || !absl::EndsWith(answer, end)) {
      const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      answer.append(buffer, static_cast<size_t>(got));
    }
    return answer;
  }
  // Whether anything has come within a tenth of a second.
  bool HasAnswer() const {
    pollfd fd = {fd_, POLLIN, 0};
    return ::poll(&fd, 1, /*timeout=*/100) > 0;
  }
  std::string ReceiveAll() { return ReceiveUntil(""); }

 private:
  const int fd_;
  bool connected_ = false;
};

// The whole answer, headers included, to one request on its own connection.
inline std::string HttpAnswer(int port, absl::string_view request) {
  HttpConnection connection(port);
  connection.Send(request);
  return connection.ReceiveAll();
}

inline std::string HttpGet(int port, absl::string_view path) {
  return HttpAnswer(port, absl::StrCat("GET ", path,
                                       " HTTP/1.1\r\nHost: localhost\r\n"
                                       "Connection: close\r\n\r\n"));
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_HTTP_CLIENT_H_
