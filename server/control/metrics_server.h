// What the worker counts, for Prometheus, at http://ADDRESS/metrics: as of its
// last heartbeat. Without a token, so on this machine only. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_
#define DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/internal/v1/worker.pb.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace dissonance {

struct WorkerFigures {
  bool ready = false;
  int64_t resident_bytes = 0;
  std::vector<internal::v1::Metric> metrics = {};
};

class MetricsServer {
 public:
  // `figures` is asked at each scrape. INVALID_ARGUMENT for an address that is
  // not HOST:PORT on loopback; UNAVAILABLE if the port can't be had.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const std::string& address, std::function<WorkerFigures()> figures);
  ~MetricsServer();

  // The one that port 0 became.
  int port() const;

 private:
  class Figures;

  MetricsServer();

  std::shared_ptr<Figures> figures_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_METRICS_SERVER_H_
