#include "server/control/metrics_server.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"
#include "prometheus/metric_family.h"
#include "server/control/listeners.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

prometheus::MetricFamily Family(const std::string& name,
                                const std::string& help, bool counter,
                                double value) {
  prometheus::ClientMetric metric;
  (counter ? metric.counter.value : metric.gauge.value) = value;
  return {.name = name,
          .help = help,
          .type = counter ? prometheus::MetricType::Counter
                          : prometheus::MetricType::Gauge,
          .metric = {std::move(metric)}};
}

}  // namespace

class MetricsServer::Figures final : public prometheus::Collectable {
 public:
  explicit Figures(std::function<WorkerFigures()> figures)
      : figures_(std::move(figures)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    const WorkerFigures figures = figures_();
    std::vector<prometheus::MetricFamily> families = {
        Family("dissonance_worker_ready",
               "Whether the worker answers requests.", /*counter=*/false,
               figures.ready ? 1 : 0),
        Family("dissonance_worker_resident_bytes",
               "Resident memory of the worker's process.", /*counter=*/false,
               static_cast<double>(figures.resident_bytes))};
    for (const internal::v1::Metric& metric : figures.metrics) {
      families.push_back(Family(metric.name(), metric.help(), metric.counter(),
                                metric.value()));
    }
    return families;
  }

 private:
  const std::function<WorkerFigures()> figures_;
};

MetricsServer::MetricsServer() = default;
MetricsServer::~MetricsServer() = default;

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, std::function<WorkerFigures()> figures) {
  RETURN_IF_ERROR(CheckLoopback("metrics_listen", address));
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  server->figures_ = std::make_shared<Figures>(std::move(figures));
  try {
    server->exposer_ = std::make_unique<prometheus::Exposer>(address, 1);
  } catch (const std::exception& e) {
    return absl::UnavailableError(
        absl::StrCat("metrics_listen: cannot listen on ", address, ": ",
                     e.what(), "; choose another port, or \"\" for none"));
  }
  server->exposer_->RegisterCollectable(server->figures_);
  return server;
}

int MetricsServer::port() const {
  return exposer_->GetListeningPorts().front();
}

}  // namespace dissonance
