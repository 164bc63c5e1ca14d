// dissonance-worker: the compute process. Serves Models, Inference,
// Interpretability, Probes and Training on the address it is given, for its
// control plane only, with whose end it is killed.
#include <ATen/Parallel.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/link/worker_credentials.h"
#include "server/worker/activation_store.h"
#include "server/worker/control_link.h"
#include "server/worker/inference_service.h"
#include "server/worker/interpretability_service.h"
#include "server/worker/model_registry.h"
#include "server/worker/models_service.h"
#include "server/worker/options.h"
#include "server/worker/probes_service.h"
#include "server/worker/training_service.h"
#include "server/worker/versions.h"
#include "server/worker/weight_residency.h"
#include "server/worker/worker_metrics.h"
#include "src/base/digest_cache.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/device_defaults.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

constexpr char kTokenVariable[] = "DISSONANCE_LAUNCH_TOKEN";
constexpr uint64_t kTokenLimitBytes = 1024;

// The one-time token of the environment, wiped there, where later children and
// /proc would still show it.
std::string TakeLaunchToken() {
  char* value = std::getenv(kTokenVariable);
  if (value == nullptr) return "";
  std::string token = value;
  std::memset(value, 0, token.size());
  ::unsetenv(kTokenVariable);
  return token;
}

int64_t ResidentBytes() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/statm", 4096);
  if (!text.ok()) return 0;
  const std::vector<std::string> fields = absl::StrSplit(*text, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

void BlockSignals(sigset_t& set) {
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

absl::StatusOr<at::Device> OpenDevice(const WorkerOptions& options) {
  ASSIGN_OR_RETURN(const at::Device device, ParseDevice(options.device));
  if (device.is_cuda()) RETURN_IF_ERROR(OpenCudaLibraries());
  if (options.threads > 0) at::set_num_threads(options.threads);
  return device;
}

// Makes it if need be. What a worker that was killed left there goes.
absl::Status EmptyFolder(const std::string& folder) {
  RETURN_IF_ERROR(MakeDirectories(folder));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::filesystem::remove(entry.path(), error);
  }
  return absl::OkStatus();
}

// Where activations are kept; null if they are not.
std::unique_ptr<ActivationStore> OpenStore(const WorkerOptions& options) {
  if (options.activation_store.empty() || options.activation_store_bytes <= 0) {
    return nullptr;
  }
  auto opened = ActivationStore::Open(options.activation_store,
                                      options.activation_store_bytes);
  if (opened.ok()) return *std::move(opened);
  // Without it everything is computed.
  std::fprintf(stderr, "activations are not kept: %s\n",
               std::string(opened.status().message()).c_str());
  return nullptr;
}

// A run before this one may go on still, on a node that nobody reaches.
WorkerOptions OfThisRun(WorkerOptions options) {
  if (options.restart_count == 0) return options;
  const std::string suffix = absl::StrCat("-run-", options.restart_count);
  absl::StrAppend(&options.scratch, suffix);
  if (!options.activation_store.empty()) {
    absl::StrAppend(&options.activation_store, suffix);
  }
  return options;
}

// How worker and control plane know each other. Sockets lie in a folder that
// only the server's user can enter.
struct Credentials {
  std::shared_ptr<grpc::ServerCredentials> server =
      grpc::InsecureServerCredentials();
  std::shared_ptr<grpc::ChannelCredentials> channel =
      grpc::InsecureChannelCredentials();
};

absl::StatusOr<Credentials> ReadCredentials(const WorkerOptions& options) {
  if (options.credentials.empty()) return Credentials();
  ASSIGN_OR_RETURN(const WorkerCredentials own,
                   WorkerCredentials::Load(options.credentials));
  return Credentials{own.ForServer(), own.ForClient()};
}

absl::StatusOr<std::string> LaunchToken(const WorkerOptions& options,
                                        const std::string& of_environment) {
  if (options.token_file.empty()) return of_environment;
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(options.token_file, kTokenLimitBytes));
  return std::string(absl::StripAsciiWhitespace(text));
}

// The address at which others find a server that listens at `listen`.
std::string AddressOf(const std::string& listen, int port) {
  const size_t colon = listen.rfind(':');
  if (absl::StartsWith(listen, "unix:")) return listen;
  return absl::StrCat(listen.substr(0, colon), ":", port);
}

// A server and where it is found.
struct ServedAt {
  std::unique_ptr<grpc::Server> server;
  std::string address;
};

absl::StatusOr<ServedAt> StartServer(
    const WorkerOptions& options, const Credentials& credentials,
    const std::vector<grpc::Service*>& services) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, credentials.server, &port);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return absl::UnavailableError("cannot listen on " + options.listen);
  }
  return ServedAt{std::move(server), AddressOf(options.listen, port)};
}

internal::v1::RegisterWorkerRequest Registration(const WorkerOptions& options,
                                                 const std::string& token,
                                                 const std::string& address) {
  internal::v1::RegisterWorkerRequest request;
  request.set_launch_token(token);
  request.set_address(address);
  request.set_restart_count(options.restart_count);
  request.set_pid(::getpid());
  request.set_device(options.device);
  request.set_thread_count(at::get_num_threads());
  for (const auto& [name, version] : ComponentVersions()) {
    (*request.mutable_versions())[name] = version;
  }
  return request;
}

WorkerVitals VitalsOf(const EngineStats& engine, const ModelRegistry& registry,
                      int64_t activation_store_bytes,
                      const TrainingCounts& training) {
  std::vector<std::string> models;
  for (const ResidentModel& model : registry.ListModels()) {
    models.push_back(model.name);
  }
  return {// A long micro-batch is no hang while its blocks get done.
          .step_count = engine.step_count + engine.background_piece_count +
                        training.block_count,
          .busy = engine.busy,
          .resident_bytes = ResidentBytes(),
          .metrics = MetricsOf(engine, registry.stats(), activation_store_bytes,
                               training),
          .models = std::move(models)};
}

absl::Status Run(const WorkerOptions& options,
                 const std::string& token_of_environment) {
  ASSIGN_OR_RETURN(const std::string token,
                   LaunchToken(options, token_of_environment));
  ASSIGN_OR_RETURN(const Credentials credentials, ReadCredentials(options));
  ASSIGN_OR_RETURN(const at::Device device, OpenDevice(options));
  sigset_t signals;
  BlockSignals(signals);

  std::optional<DigestCache> digests;
  if (!options.digest_cache.empty()) digests.emplace(options.digest_cache);
  ModelRegistry registry(device, digests.has_value() ? &*digests : nullptr,
                         options.weight_bytes);
  EngineOptions engine_options = options.engine;
  FillDeviceDefaults(device, engine_options);
  Engine engine(engine_options);
  engine.Start();
  ModelsService models(registry, engine);
  InferenceService inference(registry, engine, options.limits);
  const std::unique_ptr<ActivationStore> store = OpenStore(options);
  InterpretabilityService interpretability(registry, engine, options.limits,
                                           store.get());
  RETURN_IF_ERROR(EmptyFolder(options.scratch));
  TrainingService training(registry, engine,
                           {.limit_bytes = options.training_bytes,
                            .scratch_folder = options.scratch});
  ProbesService probes(registry, engine, options.limits, training.budget());
  ASSIGN_OR_RETURN(const ServedAt served,
                   StartServer(options, credentials,
                               {&models, &inference, &interpretability, &probes,
                                &training}));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ControlLink> link,
      ControlLink::Register(options.control, credentials.channel,
                            Registration(options, token, served.address)));
  link->StartHeartbeats(
      [&] {
        return VitalsOf(engine.stats(), registry,
                        store == nullptr ? 0 : store->bytes(),
                        training.counts());
      },
      [](const absl::Status& why) {
        // A step may be stuck, so nothing is waited for.
        std::fprintf(stderr, "the lease is lost: %s\n",
                     std::string(why.message()).c_str());
        std::_Exit(EXIT_FAILURE);
      });

  int signal = 0;
  ::sigwait(&signals, &signal);
  served.server->GetHealthCheckService()->SetServingStatus(false);
  // Calls in flight are cancelled; the engine ends their sequences.
  served.server->Shutdown(std::chrono::system_clock::now());
  return absl::OkStatus();
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) {
  const std::string token = dissonance::TakeLaunchToken();
  const auto parsed = dissonance::ParseWorkerOptions(argc, argv);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  const absl::Status status = dissonance::Run(
      dissonance::OfThisRun(std::get<dissonance::WorkerOptions>(parsed)),
      token);
  if (status.ok()) return EXIT_SUCCESS;
  std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return EXIT_FAILURE;
}
