// dissonanced: the control plane. Owns the records and the public API, starts
// and supervises the compute workers, and never links libtorch.
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "grpc/support/log.h"
#include "server/control/catalog_registrar.h"
#include "server/control/code_version.h"
#include "server/control/config.h"
#include "server/control/control_figures.h"
#include "server/control/dashboard_api.h"
#include "server/control/data_folder.h"
#include "server/control/experiments.h"
#include "server/control/flags.h"
#include "server/control/job_maintenance.h"
#include "server/control/listeners.h"
#include "server/control/llm_endpoints.h"
#include "server/control/maintenance.h"
#include "server/control/metrics_server.h"
#include "server/control/model_catalog.h"
#include "server/control/openai_api.h"
#include "server/control/pipeline_jobs.h"
#include "server/control/public_api.h"
#include "server/control/quotas.h"
#include "server/control/readiness.h"
#include "server/control/recorded_jobs.h"
#include "server/control/records.h"
#include "server/control/signals.h"
#include "server/control/worker_compute.h"
#include "server/control/worker_pool.h"
#include "server/control/worker_route.h"
#include "server/control/worker_training.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/finetune/checkpoint_outputs.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {
namespace {

// Checkpoints are adapters only while their job runs, so those of jobs that a
// crash left running are forgotten before another state is theirs.
absl::Status ForgetLeftAdapters(JobStore& jobs, AdapterRegistrar& registrar) {
  for (const v1::JobState state :
       {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING,
        v1::JOB_STATE_PAUSING}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, jobs.NamesIn(state));
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const StoredJob stored,
                       jobs.Get(name, JobStore::Spec::kWithoutData));
      ForgetCheckpointAdapters(stored.job, registrar);
    }
  }
  return absl::OkStatus();
}

// Jobs that wait for their turn; 0 while none is started.
int64_t QueuedCount(Records& records) {
  const auto maintenance = records.settings.Get(kMaintenanceSetting);
  if (!maintenance.ok() || !maintenance->empty()) return 0;
  const auto counts = records.queue.CountByState();
  if (!counts.ok()) return 0;
  const auto found = counts->find(v1::JOB_STATE_QUEUED);
  return found == counts->end() ? 0 : found->second;
}

// Pipelines that wait for their stages at a time, each on a thread.
constexpr int kMaxPipelines = 64;

// What jobs need of the rest.
struct JobParts {
  const Config& config;
  Records& records;
  const Quotas& quotas;
  ModelCatalog& catalog;
  SpaceReserve& reserve;
  Experiments& experiments;
};

absl::StatusOr<std::unique_ptr<JobManager>> MakeJobs(const JobParts& parts) {
  Records& records = parts.records;
  const Config& config = parts.config;
  ASSIGN_OR_RETURN(const std::string maintenance,
                   records.settings.Get(kMaintenanceSetting));
  return JobManager::Create(
      {.store = &records.jobs,
       .queue = &records.queue,
       .artifacts = records.artifacts.get(),
       .reserve = &parts.reserve,
       .ledger = records.ledger.get(),
       .quota = [&quotas = parts.quotas](
                    absl::string_view user) { return quotas.Of(user); },
       .may_run =
           [&records, &catalog = parts.catalog](absl::string_view user,
                                                const v1::JobSpec& spec) {
             return CheckSeesSpec(records.tokens, catalog.access(), user, spec);
           },
       .kinds = parts.experiments.kinds(),
       .max_concurrent_jobs = static_cast<int>(config.jobs.concurrent),
       .max_endpoint_jobs = static_cast<int>(config.jobs.concurrent_hosted),
       .max_pipelines = kMaxPipelines,
       .device_bytes = config.worker.weight_bytes * config.worker.count,
       .aging = absl::Seconds(config.jobs.aging_seconds),
       .maintenance = maintenance,
       .code_version = CodeVersion(),
       .config_toml = ConfigToToml(config),
       .max_lost_count = static_cast<int>(config.jobs.lost_limit)});
}

// What the HTTP port tells of.
struct WatchedParts {
  Records& records;
  JobManager& jobs;
  PublicApi& api;
  WorkerPool& workers;
  Readiness& readiness;
};

// The HTTP port's routes beside /metrics and /healthz.
HttpRoutes RoutesOf(const Config& config, const MetricsServer::Sources& sources,
                    PublicApi& api) {
  HttpRoutes routes = OpenAiRoutes(
      {.gate = api.gate(),
       .calls = api.local_calls(),
       .body_limit_bytes = static_cast<size_t>(config.limits.message_bytes)});
  HttpRoutes dashboard = DashboardRoutes({.gate = api.gate(),
                                          .calls = api.local_calls(),
                                          .figures = sources.workers,
                                          .trouble = sources.trouble});
  routes.gets.merge(dashboard.gets);
  routes.posts.merge(dashboard.posts);
  return routes;
}

// Null without an HTTP port.
absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetrics(
    const Config& config, const WatchedParts& parts) {
  if (config.http_listen.empty()) return nullptr;
  const MetricsServer::Sources sources = {
      .workers = [&workers = parts.workers] { return workers.Figures(); },
      .control =
          [parts] {
            return ControlFigures(parts.records,
                                  {.running_jobs = parts.jobs.running_count(),
                                   .calls = parts.api.call_count()});
          },
      .trouble = [&readiness =
                      parts.readiness] { return readiness.Trouble(); }};
  ASSIGN_OR_RETURN(std::unique_ptr<MetricsServer> metrics,
                   MetricsServer::Start(config.http_listen, sources,
                                        RoutesOf(config, sources, parts.api)));
  Log(LogLevel::kInfo,
      "serving /metrics, /healthz, the dashboard and /v1 of OpenAI's API",
      {{"port", metrics->port()}});
  return metrics;
}

// Serves until a signal ends it, then lets calls in flight end.
absl::Status ServeUntilSignal(const Config& config, JobManager& jobs,
                              WorkerPool& workers, PublicApi& api) {
  RETURN_IF_ERROR(jobs.Start());
  workers.Start();
  api.Open();
  const int signal = AwaitEndSignal();
  Log(LogLevel::kInfo, "draining",
      {{"signal", signal}, {"most_seconds", config.drain_seconds}});
  api.Drain(absl::Seconds(config.drain_seconds));
  workers.Stop();
  Log(LogLevel::kInfo, "stopped");
  return absl::OkStatus();
}

absl::Status Serve(const Config& config) {
  ASSIGN_OR_RETURN(auto known_endpoints, TakeChatEndpoints(config));
  ChatEndpoints endpoints(std::move(known_endpoints));
  ASSIGN_OR_RETURN(std::vector<Listener> listeners, MakeListeners(config));
  const DataFolder folder(config.data_dir);
  ASSIGN_OR_RETURN(const std::unique_ptr<Records> records,
                   Records::Open(config, folder));
  RETURN_IF_ERROR(CheckPortsFree(listeners));

  WorkerRoute route(static_cast<int>(config.worker.count));
  const Quotas quotas(records->users, config.quota);
  ModelCatalog catalog({.store = records->models,
                        .artifacts = *records->artifacts,
                        .data_dir = config.data_dir,
                        .route = route});
  WorkerCompute compute(route, catalog);
  WorkerTraining training(route);
  CatalogRegistrar registrar(catalog, records->models, records->tokens);
  RecordedJobs finished_jobs(records->jobs, *records->artifacts);
  PipelineJobs stage_jobs({.store = records->jobs,
                           .models = records->models,
                           .finished = finished_jobs,
                           .registrar = registrar,
                           .quotas = quotas});
  Experiments experiments({.compute = compute,
                           .training = training,
                           .registrar = registrar,
                           .finished_jobs = finished_jobs,
                           .endpoints = endpoints,
                           .stage_jobs = stage_jobs,
                           .release = CodeVersion(),
                           .mcq_questions_per_batch = static_cast<int>(
                               config.jobs.mcq_questions_per_batch)});
  RETURN_IF_ERROR(ForgetLeftAdapters(records->jobs, registrar));
  SpaceReserve reserve(folder.reserve());
  reserve.Hold();
  ASSIGN_OR_RETURN(
      const std::unique_ptr<JobManager> jobs,
      MakeJobs({config, *records, quotas, catalog, reserve, experiments}));
  stage_jobs.Serve(*jobs);
  Readiness readiness(*jobs);
  ASSIGN_OR_RETURN(
      const std::unique_ptr<WorkerPool> workers,
      WorkerPool::Create(
          config, folder,
          {.route = route,
           .catalog = catalog,
           .on_ready =
               [&readiness](bool ready) { readiness.SetWorkerReady(ready); },
           .queued_jobs = [&records] { return QueuedCount(*records); }}));
  ASSIGN_OR_RETURN(const std::unique_ptr<PublicApi> api,
                   PublicApi::Start(config, std::move(listeners),
                                    {.records = *records,
                                     .quotas = quotas,
                                     .jobs = *jobs,
                                     .stage_jobs = stage_jobs,
                                     .catalog = catalog,
                                     .route = route,
                                     .readiness = readiness,
                                     .workers = [&workers] {
                                       return workers->Describe();
                                     }}));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<MetricsServer> metrics,
      StartMetrics(config, {*records, *jobs, *api, *workers, readiness}));
  ASSIGN_OR_RETURN(const PidFile pid_file, PidFile::Write(folder.pid_file()));
  return ServeUntilSignal(config, *jobs, *workers, *api);
}

// What gRPC itself has to say, e.g. of a failed handshake: as our own lines.
void LogForGrpc(gpr_log_func_args* event) {
  Log(event->severity == GPR_LOG_SEVERITY_ERROR  ? LogLevel::kError
      : event->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kInfo
                                                 : LogLevel::kDebug,
      event->message, {{"source", "grpc"}});
}

absl::StatusOr<int> Run(int argc, const char* const* argv) {
  ASSIGN_OR_RETURN(const CommandLine line, ParseCommandLine(argc, argv));
  if (const int* exit_code = std::get_if<int>(&line)) return *exit_code;
  if (const auto* maintenance = std::get_if<Maintenance>(&line)) {
    return RunMaintenance(*maintenance);
  }
  const auto& config = std::get<Config>(line);
  BlockEndSignals();
  gpr_set_log_function(&LogForGrpc);
  // Its threads may outlive the logger.
  const absl::Cleanup restore_log = [] { gpr_set_log_function(nullptr); };
  StartLog({.format = config.log_format == "json" ? LogFormat::kJson
                                                  : LogFormat::kText,
            .level = config.log_level});
  RETURN_IF_ERROR(Serve(config));
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) {
  // Sockets and files are for the server's user only.
  ::umask(0077);
  ::signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<int> exit_code = dissonance::Run(argc, argv);
  if (exit_code.ok()) return *exit_code;
  std::fprintf(stderr, "error: %s\n",
               std::string(exit_code.status().message()).c_str());
  return EXIT_FAILURE;
}
