#include "server/control/worker_pool.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/control/worker_arguments.h"
#include "server/control/worker_launchers.h"
#include "server/control/worker_registry_service.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::string_view kNamePrefix = "workers/";
// How often it is looked whether there are enough workers.
constexpr absl::Duration kScalingPeriod = absl::Seconds(1);

ScalingOptions ScalingOf(const WorkerConfig& worker) {
  const int64_t least = worker.least == 0 ? worker.count : worker.least;
  return {.least = static_cast<size_t>(least),
          .idle_limit = absl::Seconds(worker.idle_seconds)};
}

std::string NameOf(const WorkerConfig& config, size_t worker) {
  std::string name = absl::StrCat(kNamePrefix, config.launcher);
  if (worker > 0) absl::StrAppend(&name, "-", worker);
  return name;
}

}  // namespace

WorkerPool::WorkerPool(const Config& config, const Parts& parts)
    : parts_(parts),
      scaling_(ScalingOf(config.worker)),
      ready_(static_cast<size_t>(config.worker.count)) {}

absl::StatusOr<std::unique_ptr<WorkerPool>> WorkerPool::Create(
    const Config& config, const DataFolder& folder, const Parts& parts) {
  std::unique_ptr<WorkerPool> pool(new WorkerPool(config, parts));
  RETURN_IF_ERROR(pool->Prepare(config, folder));
  return pool;
}

absl::Status WorkerPool::Prepare(const Config& config,
                                 const DataFolder& folder) {
  ASSIGN_OR_RETURN(numbers_, FencingNumbers::Open(folder.fencing_file()));
  ASSIGN_OR_RETURN(const WorkerMeetingPlace place,
                   MakeMeetingPlace(config, folder));
  const WorkerLeases::Options leases = {
      .heartbeat_interval = absl::Seconds(config.worker.heartbeat_seconds),
      .hang_limit = absl::Seconds(config.worker.hang_seconds)};
  seats_.resize(static_cast<size_t>(parts_.route.worker_count()));
  std::vector<RegistrySeat> registered;
  for (size_t i = 0; i < seats_.size(); ++i) {
    seats_[i].leases =
        std::make_unique<WorkerLeases>(leases, *numbers_, Clock::Real());
    registered.push_back(
        {.leases = seats_[i].leases.get(),
         .on_register = [this, i] { seats_[i].supervisor->Wake(); },
         .on_report =
             [this, i](const WorkerReport& report) {
               parts_.route.SetResident(
                   static_cast<int>(i),
                   {report.models.begin(), report.models.end()});
             }});
  }
  registry_ = MakeWorkerRegistryService(std::move(registered));
  ASSIGN_OR_RETURN(const std::string target, Listen(place));
  ASSIGN_OR_RETURN(launcher_, MakeLauncher(config, folder, target));
  for (size_t i = 0; i < seats_.size(); ++i) {
    AddSupervisor(config, folder, i, place.channel_credentials);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WorkerPool::Listen(
    const WorkerMeetingPlace& place) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(place.listen, place.server_credentials, &port);
  builder.RegisterService(registry_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", place.listen,
        ", where workers report; see to the data directory's permissions and "
        "to what else listens there"));
  }
  return place.host.empty() ? place.listen
                            : absl::StrCat(place.host, ":", port);
}

void WorkerPool::AddSupervisor(
    const Config& config, const DataFolder& folder, size_t worker,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  const int number = static_cast<int>(worker);
  const WorkerConfig& own = config.worker;
  seats_[worker].supervisor = std::make_unique<WorkerSupervisor>(
      WorkerSupervisor::Options{
          .worker = number,
          .name = NameOf(own, worker),
          .device = DeviceOf(own, number),
          .log_file = folder.worker_log(number),
          .max_message_bytes = static_cast<int>(config.limits.message_bytes),
          .start_limit = absl::Seconds(own.start_seconds),
          .first_backoff = absl::Seconds(own.first_backoff_seconds),
          .max_backoff = absl::Seconds(own.max_backoff_seconds),
          // Whoever comes first reads the weights for all.
          .reads_ahead = own.launcher == kLocalLauncher && worker == 0},
      WorkerSupervisor::Parts{
          .launcher = *launcher_,
          .leases = *seats_[worker].leases,
          .route = parts_.route,
          .catalog = parts_.catalog,
          .credentials = credentials,
          .on_ready = [this, worker](bool ready) { SetReady(worker, ready); }});
  seats_[worker].supervisor->SetWanted(worker < scaling_.least);
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Start() {
  for (const Seat& seat : seats_) seat.supervisor->Start();
  if (scaling_.least == seats_.size()) return;
  scaling_thread_ = std::thread([this] { Scale(); });
}

void WorkerPool::Stop() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    stops_.SignalAll();
  }
  if (scaling_thread_.joinable()) scaling_thread_.join();
  // All at once, as each takes a while.
  std::vector<std::thread> stops;
  for (const Seat& seat : seats_) {
    if (seat.supervisor == nullptr) continue;
    stops.emplace_back([&seat] { seat.supervisor->Stop(); });
  }
  for (std::thread& stop : stops) stop.join();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

void WorkerPool::SetReady(size_t worker, bool ready) {
  // Held while it is told, so that what is told last is how it is.
  const absl::MutexLock lock(&mutex_);
  ready_[worker] = ready;
  parts_.on_ready(std::find(ready_.begin(), ready_.end(), true) !=
                  ready_.end());
}

void WorkerPool::Scale() {
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!stopping_) stops_.WaitWithTimeout(mutex_, kScalingPeriod);
      if (stopping_) return;
    }
    ScaleOnce();
  }
}

void WorkerPool::ScaleOnce() {
  const absl::Duration now = Clock::Real().Monotonic();
  std::vector<WorkerLoad> loads;
  for (size_t i = 0; i < seats_.size(); ++i) {
    Seat& seat = seats_[i];
    WorkerLoad load = {
        .wanted = seat.supervisor->wanted(),
        .ready = seat.supervisor->Describe().state() == v1::WORKER_STATE_READY,
        .call_count = parts_.route.CallCount(static_cast<int>(i))};
    if (!load.ready || load.call_count > 0) seat.busy_at = now;
    load.idle = now - seat.busy_at;
    loads.push_back(load);
  }
  const ScalingStep step =
      NextScalingStep(loads, parts_.queued_jobs(), scaling_);
  if (step.launch.has_value()) {
    spdlog::info("one worker more: jobs wait and all workers are busy");
    seats_[*step.launch].supervisor->SetWanted(true);
  }
  if (step.end.has_value()) {
    spdlog::info("one worker less: it was idle for {}",
                 absl::FormatDuration(loads[*step.end].idle));
    seats_[*step.end].supervisor->SetWanted(false);
  }
}

std::vector<v1::Worker> WorkerPool::Describe() const {
  std::vector<v1::Worker> workers;
  for (const Seat& seat : seats_) {
    workers.push_back(seat.supervisor->Describe());
  }
  return workers;
}

std::vector<WorkerFigures> WorkerPool::Figures() const {
  std::vector<WorkerFigures> figures;
  for (const Seat& seat : seats_) {
    const v1::Worker worker = seat.supervisor->Describe();
    // One that need not run has no figures.
    if (worker.state() == v1::WORKER_STATE_STOPPED) continue;
    WorkerReport report = seat.leases->last_report();
    figures.push_back({.name = worker.name().substr(kNamePrefix.size()),
                       .ready = worker.state() == v1::WORKER_STATE_READY,
                       .resident_bytes = report.resident_bytes,
                       .metrics = std::move(report.metrics)});
  }
  return figures;
}

}  // namespace dissonance
