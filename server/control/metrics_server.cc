#include "server/control/metrics_server.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr int kServiceUnavailable = 503;

// Families in the order in which they came up, each with a sample for each
// worker that has it.
class WorkerFamilies {
 public:
  void Add(const WorkerFigures& worker, const std::string& name,
           const std::string& help, MetricFamily::Type type, double value) {
    const auto [place, is_new] = places_.try_emplace(name, families_.size());
    if (is_new) {
      families_.push_back({.name = name, .help = help, .type = type});
    }
    families_[place->second].samples.push_back(
        {.labels = {{"worker", worker.name}}, .value = value});
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::map<std::string, size_t> places_;
  std::vector<MetricFamily> families_;
};

std::vector<MetricFamily> FamiliesOf(
    const std::vector<WorkerFigures>& workers) {
  using Type = MetricFamily::Type;
  WorkerFamilies families;
  for (const WorkerFigures& worker : workers) {
    families.Add(worker, "dissonance_worker_ready",
                 "Whether the worker answers requests.", Type::kGauge,
                 worker.ready ? 1 : 0);
    families.Add(worker, "dissonance_worker_resident_bytes",
                 "Resident memory of the worker's process.", Type::kGauge,
                 static_cast<double>(worker.resident_bytes));
    for (const internal::v1::Metric& metric : worker.metrics) {
      families.Add(worker, metric.name(), metric.help(),
                   metric.counter() ? Type::kCounter : Type::kGauge,
                   metric.value());
    }
  }
  return families.Take();
}

prometheus::MetricFamily ToPrometheus(const MetricFamily& family) {
  const bool counter = family.type == MetricFamily::Type::kCounter;
  prometheus::MetricFamily out = {.name = family.name,
                                  .help = family.help,
                                  .type = counter
                                              ? prometheus::MetricType::Counter
                                              : prometheus::MetricType::Gauge,
                                  .metric = {}};
  for (const MetricSample& sample : family.samples) {
    prometheus::ClientMetric& metric = out.metric.emplace_back();
    for (const auto& [name, value] : sample.labels) {
      metric.label.push_back({.name = name, .value = value});
    }
    (counter ? metric.counter.value : metric.gauge.value) = sample.value;
  }
  return out;
}

HttpResponse Metrics(const MetricsServer::Sources& sources) {
  std::vector<prometheus::MetricFamily> families;
  for (const MetricFamily& family : FamiliesOf(sources.workers())) {
    families.push_back(ToPrometheus(family));
  }
  for (const MetricFamily& family : sources.control()) {
    families.push_back(ToPrometheus(family));
  }
  const prometheus::Serializer& serializer = prometheus::TextSerializer();
  return {.content_type = kContentType, .body = serializer.Serialize(families)};
}

HttpResponse Health(const MetricsServer::Sources& sources) {
  const std::string trouble = sources.trouble();
  if (trouble.empty()) return {.body = "ok\n"};
  return {.code = kServiceUnavailable, .body = absl::StrCat(trouble, "\n")};
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, Sources sources, HttpRoutes routes) {
  const auto shared = std::make_shared<const Sources>(std::move(sources));
  routes.gets["/metrics"] = [shared](const HttpRequest&) {
    return Metrics(*shared);
  };
  routes.gets["/healthz"] = [shared](const HttpRequest&) {
    return Health(*shared);
  };
  ASSIGN_OR_RETURN(
      std::unique_ptr<HttpServer> http,
      HttpServer::Start("http_listen", address, std::move(routes)));
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(http)));
}

}  // namespace dissonance
