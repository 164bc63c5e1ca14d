// The figures as Prometheus reads them, over a real socket.
#include "server/control/metrics_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace dissonance {
namespace {

// The answer to GET /metrics, with its headers.
std::string Scrape(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) ==
      0) {
    const std::string request =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(::send(fd, request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

TEST(MetricsServerTest, ShowsWhatTheWorkerSaid) {
  WorkerFigures figures;
  const auto server =
      MetricsServer::Start("127.0.0.1:0", [&figures] { return figures; });
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_NE(Scrape((*server)->port()).find("dissonance_worker_ready 0"),
            std::string::npos);
  figures.ready = true;
  figures.resident_bytes = 4096;
  internal::v1::Metric& tokens = figures.metrics.emplace_back();
  tokens.set_name("dissonance_decode_tokens_total");
  tokens.set_help("Generated tokens.");
  tokens.set_counter(true);
  tokens.set_value(17);
  const std::string answer = Scrape((*server)->port());
  for (const char* line :
       {"200 OK", "dissonance_worker_ready 1",
        "dissonance_worker_resident_bytes 4096",
        "# HELP dissonance_decode_tokens_total Generated tokens.",
        "# TYPE dissonance_decode_tokens_total counter",
        "dissonance_decode_tokens_total 17"}) {
    EXPECT_NE(answer.find(line), std::string::npos) << line << "\n" << answer;
  }
}

TEST(MetricsServerTest, RefusesWhatOthersCouldReach) {
  const auto figures = [] { return WorkerFigures(); };
  for (const char* address : {"0.0.0.0:0", "9464", "example.org:80", ""}) {
    EXPECT_EQ(MetricsServer::Start(address, figures).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
  }
  const auto first = MetricsServer::Start("127.0.0.1:0", figures);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(MetricsServer::Start(
                "127.0.0.1:" + std::to_string((*first)->port()), figures)
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace dissonance
