#include "server/control/public_api.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "server/control/admin_service.h"
#include "server/control/artifacts_service.h"
#include "server/control/directions_service.h"
#include "server/control/forwarding.h"
#include "server/control/models_service.h"
#include "server/control/probes_service.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Time that clients have to read how their calls ended and to close. At once,
// a client that is just writing would find a broken pipe instead.
constexpr std::chrono::seconds kGoodbye(1);

constexpr mode_t kOwnerOnly = 0600;

v1::ServerInfoResponse FixedInfo(const Config& config) {
  v1::ServerInfoResponse info;
  info.set_version(DISSONANCE_VERSION);
  (*info.mutable_versions())["dissonance"] = DISSONANCE_VERSION;
  (*info.mutable_versions())["grpc"] = grpc::Version();
  info.set_data_dir(config.data_dir);
  info.set_config_toml(ConfigToToml(config));
  *info.mutable_start_time() =
      google::protobuf::util::TimeUtil::GetCurrentTime();
  return info;
}

}  // namespace

PublicApi::PublicApi(const Config& config, std::vector<Listener> listeners,
                     const Parts& parts)
    : listeners_(std::move(listeners)),
      jobs_(parts.jobs),
      readiness_(parts.readiness),
      records_(parts.records),
      maintenance_(parts.records.settings, parts.jobs),
      housekeeper_({.records = parts.records,
                    .streams = {&job_streams_, &compute_streams_},
                    .data_dir = config.data_dir},
                   config.artifacts),
      gate_(std::make_shared<AuthGate>(
          parts.records.tokens, Clock::Real(),
          AuthGate::Options{
              .calls_per_second = config.limits.calls_per_second,
              .burst = absl::Seconds(config.limits.call_burst_seconds)})),
      directions_(*parts.records.directions, parts.records.models,
                  config.limits.message_bytes / 2),
      jobs_service_({.jobs = parts.jobs,
                     .store = parts.records.jobs,
                     .tokens = parts.records.tokens,
                     .access = parts.catalog.access(),
                     .directions = directions_,
                     .artifacts = *parts.records.artifacts,
                     .quotas = parts.quotas,
                     .streams = job_streams_,
                     .pipeline_cancelled =
                         [&stage_jobs = parts.stage_jobs](const v1::Job& job) {
                           return stage_jobs.CancelStagesOf(job);
                         }}) {
  services_.push_back(
      MakeAdminService(FixedInfo(config),
                       {.addresses = [this] { return AddressesOf(listeners_); },
                        .workers = parts.workers,
                        .draining = [this] { return gate_->draining(); }},
                       {.records = parts.records,
                        .quotas = parts.quotas,
                        .jobs = parts.jobs,
                        .maintenance = maintenance_,
                        .housekeeper = housekeeper_}));
  services_.push_back(MakeModelsService(parts.catalog, parts.records.tokens));
  const ForwardingParts forwarding = {.route = parts.route,
                                      .access = parts.catalog.access(),
                                      .directions = directions_,
                                      .tokens = parts.records.tokens,
                                      .ledger = *parts.records.ledger,
                                      .quotas = parts.quotas,
                                      .streams = compute_streams_};
  services_.push_back(MakeForwardedInference(forwarding));
  services_.push_back(MakeForwardedInterpretability(forwarding));
  services_.push_back(MakeProbesService({.forwarding = forwarding,
                                         .jobs = parts.jobs,
                                         .store = parts.records.jobs}));
  services_.push_back(
      MakeDirectionsService({.directions = *parts.records.directions,
                             .tokens = parts.records.tokens,
                             .access = parts.catalog.access(),
                             .quotas = parts.quotas,
                             .jobs = parts.jobs,
                             .artifacts = *parts.records.artifacts}));
  services_.push_back(MakeArtifactsService(
      {.artifacts = *parts.records.artifacts,
       .uploads = *parts.records.uploads,
       .tokens = parts.records.tokens,
       .streams = compute_streams_,
       .limit_bytes = [&quotas = parts.quotas](const std::string& user) {
         return quotas.Of(user).artifact_bytes();
       }}));
}

absl::StatusOr<std::unique_ptr<PublicApi>> PublicApi::Start(
    const Config& config, std::vector<Listener> listeners, const Parts& parts) {
  std::unique_ptr<PublicApi> api(
      new PublicApi(config, std::move(listeners), parts));
  RETURN_IF_ERROR(api->Listen(config));
  return api;
}

absl::Status PublicApi::Listen(const Config& config) {
  const auto message_bytes = static_cast<int>(config.limits.message_bytes);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  RETURN_IF_ERROR(AddListeners(config, gate_, listeners_, builder));
  builder.SetMaxReceiveMessageSize(message_bytes);
  builder.SetMaxSendMessageSize(message_bytes);
  builder.experimental().SetInterceptorCreators(
      RpcLogCreators({calls_, records_.tokens, records_.audit, Clock::Real()}));
  builder.RegisterService(&jobs_service_);
  for (const auto& service : services_) builder.RegisterService(service.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", config.listen.front(),
                     " or another address of 'listen'; the lines above are "
                     "what the transport says about it"));
  }
  for (const Listener& listener : listeners_) {
    if (listener.socket_path.empty()) continue;
    if (::chmod(listener.socket_path.c_str(), kOwnerOnly) != 0) {
      return absl::ErrnoToStatus(errno,
                                 absl::StrCat("chmod ", listener.socket_path));
    }
  }
  readiness_.Attach(server_->GetHealthCheckService());
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(message_bytes);
  arguments.SetMaxSendMessageSize(message_bytes);
  local_calls_.Open(server_->InProcessChannel(arguments));
  return absl::OkStatus();
}

void PublicApi::Open() {
  housekeeper_.Start();
  gate_->SetPhase(AuthGate::Phase::kServing);
  for (const std::string& address : AddressesOf(listeners_)) {
    Log(LogLevel::kInfo, "listening", {{"address", address}});
  }
}

PublicApi::~PublicApi() {
  if (server_ != nullptr) Drain(absl::ZeroDuration());
}

void PublicApi::Drain(absl::Duration grace) {
  const absl::Duration deadline = Clock::Real().Monotonic() + grace;
  readiness_.BeginDrain();
  gate_->SetPhase(AuthGate::Phase::kDraining);
  jobs_.Drain(grace);
  job_streams_.EndAll(absl::UnavailableError(
      "the server is stopping; watch again, after the last event's number, "
      "when it has been started again"));
  if (!calls_.AwaitNone(deadline - Clock::Real().Monotonic())) {
    Log(LogLevel::kWarning,
        "calls are left after the grace period and are cancelled");
  }
  local_calls_.Close();
  server_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
  readiness_.Attach(nullptr);
  server_.reset();
  housekeeper_.Stop();
}

}  // namespace dissonance
