// The HTTP port: what Prometheus collects at http://ADDRESS/metrics, what a
// load balancer or a person asks at /healthz, both without a token, so on this
// machine only; and further routes. Thread safe.
//
//   ASSIGN_OR_RETURN(auto server,
//                    MetricsServer::Start("127.0.0.1:9464",
//                                         {.worker = ..., .trouble = ...}));
#ifndef DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_
#define DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/internal/v1/worker.pb.h"
#include "server/control/http_server.h"

namespace dissonance {

// What a worker counts, as of its last heartbeat.
struct WorkerFigures {
  std::string name = {};  // e.g. "local"
  bool ready = false;
  int64_t resident_bytes = 0;
  std::vector<internal::v1::Metric> metrics = {};
};

// One figure, told apart from others of its family by labels.
struct MetricSample {
  std::vector<std::pair<std::string, std::string>> labels = {};
  double value = 0;
};

// Figures of one kind, e.g. dissonance_jobs{state="QUEUED"}.
struct MetricFamily {
  enum class Type { kGauge, kCounter };

  std::string name;  // a counter's ends in "_total"
  std::string help;
  Type type = Type::kGauge;
  std::vector<MetricSample> samples = {};
};

class MetricsServer {
 public:
  // Asked at each request, on the server's thread: has to be quick.
  struct Sources {
    std::function<std::vector<WorkerFigures>()> workers;
    // Those of the control plane, which come after the workers'.
    std::function<std::vector<MetricFamily>()> control = [] {
      return std::vector<MetricFamily>();
    };
    // Why the server does not serve, e.g. "draining"; empty while it does.
    std::function<std::string()> trouble;
  };

  // /metrics, and /healthz: 200 "ok", or 503 with the trouble; and `routes`.
  // INVALID_ARGUMENT for an address that is not HOST:PORT on loopback;
  // UNAVAILABLE if the port can't be had.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const std::string& address, Sources sources, HttpRoutes routes = {});

  // The one that port 0 became.
  int port() const { return http_->port(); }

 private:
  explicit MetricsServer(std::unique_ptr<HttpServer> http)
      : http_(std::move(http)) {}

  const std::unique_ptr<HttpServer> http_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_
