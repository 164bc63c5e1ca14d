#include "server/control/metrics_server.h"

#include "absl/strings/str_cat.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr int kServiceUnavailable = 503;

MetricFamily Single(std::string name, std::string help, MetricFamily::Type type,
                    double value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .type = type,
          .samples = {{.value = value}}};
}

std::vector<MetricFamily> FamiliesOf(const WorkerFigures& figures) {
  using Type = MetricFamily::Type;
  std::vector<MetricFamily> families = {
      Single("dissonance_worker_ready", "Whether the worker answers requests.",
             Type::kGauge, figures.ready ? 1 : 0),
      Single("dissonance_worker_resident_bytes",
             "Resident memory of the worker's process.", Type::kGauge,
             static_cast<double>(figures.resident_bytes))};
  for (const internal::v1::Metric& metric : figures.metrics) {
    families.push_back(Single(metric.name(), metric.help(),
                              metric.counter() ? Type::kCounter : Type::kGauge,
                              metric.value()));
  }
  return families;
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
  for (const MetricFamily& family : FamiliesOf(sources.worker())) {
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
