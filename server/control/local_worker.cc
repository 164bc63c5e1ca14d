#include "server/control/local_worker.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/control/worker_registry_service.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Settings of the worker's libraries that are read when it starts; those that
// the server itself was started with stay.
void AddTuning(std::vector<std::string>& environment) {
  if (std::getenv("GOMP_SPINCOUNT") == nullptr &&
      std::getenv("OMP_WAIT_POLICY") == nullptr) {
    // Compute threads that wait for each other soon leave the processor to
    // whoever else needs it, the server itself included; but not at once where
    // there are more of them than processors, as they otherwise would.
    environment.push_back("GOMP_SPINCOUNT=10000");
    environment.push_back("OMP_WAIT_POLICY=active");
  }
  if (std::getenv("GLIBC_TUNABLES") == nullptr) {
    // Huge pages for weights: a model loads a sixth faster.
    environment.push_back("GLIBC_TUNABLES=glibc.malloc.hugetlb=1");
  }
  if (std::getenv("MALLOC_ARENA_MAX") == nullptr) {
    // Each arena keeps the most that its threads ever held, and by default
    // there are eight for each processor: resident memory grew for hours,
    // though no more of it was in use.
    environment.push_back("MALLOC_ARENA_MAX=2");
  }
}

WorkerSupervisor::Options SupervisorOptions(const Config& config,
                                            const DataFolder& folder) {
  const WorkerConfig& worker = config.worker;
  const LimitsConfig& limits = config.limits;
  WorkerSupervisor::Options options;
  options.program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() /
      "dissonance-worker";
  const auto add = [&options](const char* flag, const auto& value) {
    options.arguments.push_back(flag);
    options.arguments.push_back(absl::StrCat(value));
  };
  add("--control", absl::StrCat("unix:", folder.control_socket()));
  add("--digest-cache", folder.digest_cache());
  add("--activation-store", folder.activation_store());
  add("--activation-store-bytes", worker.activation_store_bytes);
  add("--scratch", folder.scratch());
  add("--device", worker.device);
  add("--weight-bytes", worker.weight_bytes);
  add("--training-bytes", worker.training_bytes);
  add("--training-share", worker.training_share);
  add("--threads", worker.threads);
  add("--max-message-bytes", limits.message_bytes);
  add("--step-tokens", worker.step_tokens);
  add("--decode-step-tokens", worker.decode_step_tokens);
  add("--reproducible", worker.reproducible ? "true" : "false");
  add("--kv-cache-bytes", worker.kv_cache_bytes);
  add("--prefix-cache-bytes", worker.prefix_cache_bytes);
  add("--queue-limit", worker.queue_limit);
  add("--text-bytes", limits.text_bytes);
  add("--items", limits.items);
  add("--continuations", limits.continuations);
  add("--tokens", limits.tokens);
  if (worker.threads > 0) {
    // The OpenMP runtime reads it when the library is loaded.
    options.environment.push_back(
        absl::StrCat("OMP_NUM_THREADS=", worker.threads));
  }
  AddTuning(options.environment);
  options.socket_prefix = folder.worker_socket_prefix();
  options.log_file = folder.worker_log();
  options.fencing_file = folder.fencing_file();
  options.device = worker.device;
  options.max_message_bytes = static_cast<int>(limits.message_bytes);
  options.start_limit = absl::Seconds(worker.start_seconds);
  options.first_backoff = absl::Seconds(worker.first_backoff_seconds);
  options.max_backoff = absl::Seconds(worker.max_backoff_seconds);
  return options;
}

absl::StatusOr<std::unique_ptr<grpc::Server>> StartInternalServer(
    const DataFolder& folder, grpc::Service& registry) {
  grpc::ServerBuilder builder;
  // Only this user can enter the data directory; the launch token is checked.
  builder.AddListeningPort(absl::StrCat("unix:", folder.control_socket()),
                           grpc::InsecureServerCredentials());
  builder.RegisterService(&registry);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr) return server;
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", folder.control_socket()));
}

}  // namespace

LocalWorker::LocalWorker(const Config& config, const DataFolder& folder,
                         int64_t last_fencing_number, WorkerRoute& route,
                         ModelCatalog& catalog,
                         std::function<void(bool)> on_ready)
    : leases_(
          {.heartbeat_interval = absl::Seconds(config.worker.heartbeat_seconds),
           .hang_limit = absl::Seconds(config.worker.hang_seconds),
           .last_fencing_number = last_fencing_number},
          Clock::Real()),
      supervisor_(SupervisorOptions(config, folder), leases_, route, catalog,
                  std::move(on_ready)),
      registry_service_(
          MakeWorkerRegistryService(leases_, [this] { supervisor_.Wake(); })) {}

absl::StatusOr<std::unique_ptr<LocalWorker>> LocalWorker::Create(
    const Config& config, const DataFolder& folder, WorkerRoute& route,
    ModelCatalog& catalog, std::function<void(bool)> on_ready) {
  ASSIGN_OR_RETURN(const int64_t last_fencing_number,
                   folder.LastFencingNumber());
  const std::string program = SupervisorOptions(config, folder).program;
  if (::access(program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(
        "there is no program ", program,
        "; build or install dissonance-worker beside dissonanced"));
  }
  std::unique_ptr<LocalWorker> worker(
      new LocalWorker(config, folder, last_fencing_number, route, catalog,
                      std::move(on_ready)));
  ASSIGN_OR_RETURN(worker->server_,
                   StartInternalServer(folder, *worker->registry_service_));
  return worker;
}

LocalWorker::~LocalWorker() { Stop(); }

void LocalWorker::Stop() {
  supervisor_.Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace dissonance
