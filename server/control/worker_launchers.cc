#include "server/control/worker_launchers.h"

#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "server/control/local_launcher.h"
#include "server/control/slurm_launcher.h"
#include "server/control/worker_arguments.h"
#include "server/link/worker_credentials.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Beside the server's own program.
absl::StatusOr<std::string> WorkerProgram() {
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() /
      "dissonance-worker";
  if (::access(program.c_str(), X_OK) == 0) return program;
  return absl::NotFoundError(
      absl::StrCat("there is no program ", program,
                   "; build or install dissonance-worker beside dissonanced"));
}

// By which other machines find this one.
absl::StatusOr<std::string> HostName(const SlurmConfig& config) {
  if (!config.host.empty()) return config.host;
  char name[HOST_NAME_MAX + 1] = {};
  if (::gethostname(name, HOST_NAME_MAX) != 0) {
    return absl::ErrnoToStatus(errno, "gethostname");
  }
  return std::string(name);
}

absl::StatusOr<std::unique_ptr<WorkerLauncher>> MakeSlurmLauncher(
    const Config& config, const DataFolder& folder, std::string program,
    std::function<std::vector<std::string>(int)> arguments) {
  return SlurmLauncher::Create(
      {.program = std::move(program),
       .arguments = {"--credentials", folder.run()},
       .environment = WorkerEnvironment(config.worker),
       .worker_arguments = std::move(arguments),
       .folder = folder.run(),
       .log_file = [folder](int worker) { return folder.worker_log(worker); },
       .job_name = SlurmJobName(config.data_dir),
       .sbatch_options = config.slurm.options,
       .poll_interval = absl::Seconds(config.slurm.poll_seconds)});
}

}  // namespace

absl::StatusOr<WorkerMeetingPlace> MakeMeetingPlace(const Config& config,
                                                    const DataFolder& folder) {
  if (config.worker.launcher == kLocalLauncher) {
    // Only this user can enter the data directory; the launch token is checked.
    return WorkerMeetingPlace{
        .listen = absl::StrCat("unix:", folder.control_socket()),
        .server_credentials = grpc::InsecureServerCredentials(),
        .channel_credentials = grpc::InsecureChannelCredentials()};
  }
  RETURN_IF_ERROR(WorkerCredentials::Renew(folder.run()));
  ASSIGN_OR_RETURN(const WorkerCredentials credentials,
                   WorkerCredentials::Load(folder.run()));
  ASSIGN_OR_RETURN(std::string host, HostName(config.slurm));
  return WorkerMeetingPlace{.listen = "0.0.0.0:0",
                            .host = std::move(host),
                            .server_credentials = credentials.ForServer(),
                            .channel_credentials = credentials.ForClient()};
}

absl::StatusOr<std::unique_ptr<WorkerLauncher>> MakeLauncher(
    const Config& config, const DataFolder& folder,
    const std::string& control) {
  ASSIGN_OR_RETURN(const std::string program, WorkerProgram());
  const auto arguments = [config, folder, control](int worker) {
    return WorkerArguments(config, folder, control, worker);
  };
  if (config.worker.launcher == kSlurmLauncher) {
    return MakeSlurmLauncher(config, folder, program, arguments);
  }
  return std::make_unique<LocalLauncher>(LocalLauncher::Options{
      .program = program,
      .arguments = arguments,
      .environment = WorkerEnvironment(config.worker),
      .socket_prefix = folder.worker_socket_prefix(),
      .log_file = [folder](int worker) { return folder.worker_log(worker); }});
}

}  // namespace dissonance
