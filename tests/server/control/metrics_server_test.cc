// The figures as Prometheus reads them, over a real socket.
#include "server/control/metrics_server.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/http_client.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MetricsServerTest : public ::testing::Test {
 protected:
  MetricsServerTest() {
    auto server = MetricsServer::Start(
        "127.0.0.1:0", {.workers = [this] { return std::vector{worker_}; },
                        .control = [this] { return control_; },
                        .trouble = [this] { return trouble_; }});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Get(const std::string& path) {
    return HttpGet(server_->port(), path);
  }

  WorkerFigures worker_ = {.name = "local"};
  std::vector<MetricFamily> control_;
  std::string trouble_;
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, ShowsWhatTheWorkerSaid) {
  EXPECT_THAT(Get("/metrics"),
              HasSubstr("\ndissonance_worker_ready{worker=\"local\"} 0\n"));
  worker_.ready = true;
  worker_.resident_bytes = 4096;
  internal::v1::Metric& tokens = worker_.metrics.emplace_back();
  tokens.set_name("dissonance_decode_tokens_total");
  tokens.set_help("Generated tokens.");
  tokens.set_counter(true);
  tokens.set_value(17);
  EXPECT_THAT(
      Get("/metrics"),
      AllOf(StartsWith("HTTP/1.1 200 "),
            HasSubstr("Content-Type: text/plain; version=0.0.4"),
            HasSubstr("\ndissonance_worker_ready{worker=\"local\"} 1\n"),
            HasSubstr(
                "\ndissonance_worker_resident_bytes{worker=\"local\"} 4096\n"),
            HasSubstr(
                "# HELP dissonance_decode_tokens_total Generated tokens.\n"),
            HasSubstr("# TYPE dissonance_decode_tokens_total counter\n"),
            HasSubstr(
                "\ndissonance_decode_tokens_total{worker=\"local\"} 17\n")));
}

TEST_F(MetricsServerTest, ShowsTheControlPlanesFamiliesWithTheirLabels) {
  control_ = {{.name = "dissonance_jobs",
               .help = "Jobs by state.",
               .samples = {{.labels = {{"state", "QUEUED"}}, .value = 3},
                           {.labels = {{"state", "RUNNING"}}, .value = 1}}},
              {.name = "dissonance_device_seconds_total",
               .help = "Device seconds by user.",
               .type = MetricFamily::Type::kCounter,
               .samples = {{.labels = {{"user", "a\"b\\c\nd"}, {"x", "y"}},
                            .value = 2.5}}}};
  EXPECT_THAT(Get("/metrics"),
              AllOf(HasSubstr("# TYPE dissonance_jobs gauge\n"
                              "dissonance_jobs{state=\"QUEUED\"} 3\n"
                              "dissonance_jobs{state=\"RUNNING\"} 1\n"),
                    HasSubstr("# TYPE dissonance_device_seconds_total counter\n"
                              "dissonance_device_seconds_total"
                              "{user=\"a\\\"b\\\\c\\nd\",x=\"y\"} 2.5\n")));
}

TEST_F(MetricsServerTest, HealthIsOkOrTheTrouble) {
  EXPECT_THAT(Get("/healthz"),
              AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\nok\n")));
  trouble_ = "draining";
  EXPECT_THAT(Get("/healthz"), AllOf(StartsWith("HTTP/1.1 503 "),
                                     EndsWith("\r\n\r\ndraining\n")));
}

TEST(MetricsServerStartTest, WorksWithoutFiguresOfTheControlPlane) {
  const auto server = MetricsServer::Start(
      "127.0.0.1:0",
      {.workers = [] { return std::vector{WorkerFigures{.name = "a"}}; },
       .trouble = [] { return ""; }});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(HttpGet((*server)->port(), "/metrics"),
              HasSubstr("dissonance_worker_ready{worker=\"a\"} 0"));
}

}  // namespace
}  // namespace dissonance
