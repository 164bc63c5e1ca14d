#include "server/control/worker_launchers.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "server/control/local_launcher.h"
#include "server/control/worker_arguments.h"
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

}  // namespace

absl::StatusOr<WorkerMeetingPlace> MakeMeetingPlace(const Config& /*config*/,
                                                    const DataFolder& folder) {
  // Only this user can enter the data directory; the launch token is checked.
  return WorkerMeetingPlace{
      .listen = absl::StrCat("unix:", folder.control_socket()),
      .server_credentials = grpc::InsecureServerCredentials(),
      .channel_credentials = grpc::InsecureChannelCredentials()};
}

absl::StatusOr<std::unique_ptr<WorkerLauncher>> MakeLauncher(
    const Config& config, const DataFolder& folder,
    const std::string& control) {
  ASSIGN_OR_RETURN(const std::string program, WorkerProgram());
  const auto arguments = [config, folder, control](int worker) {
    return WorkerArguments(config, folder, control, worker);
  };
  return std::make_unique<LocalLauncher>(LocalLauncher::Options{
      .program = program,
      .arguments = arguments,
      .environment = WorkerEnvironment(config.worker),
      .socket_prefix = folder.worker_socket_prefix(),
      .log_file = [folder](int worker) { return folder.worker_log(worker); }});
}

}  // namespace dissonance
