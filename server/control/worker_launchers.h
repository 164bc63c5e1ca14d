// The launcher that the configuration names, and where its workers and the
// server meet: a socket on this machine, or TCP with certificates that only
// those have who can read the data directory. Thread safe.
//
//   ASSIGN_OR_RETURN(auto place, MakeMeetingPlace(config, folder));
//   ... serve the registry at place.listen, with a target for workers ...
//   ASSIGN_OR_RETURN(auto launcher, MakeLauncher(config, folder, target));
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHERS_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHERS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/control/config.h"
#include "server/control/data_folder.h"
#include "server/control/worker_launcher.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace dissonance {

struct WorkerMeetingPlace {
  std::string listen = {};  // a gRPC address of the server, its port maybe 0
  std::string host = {};  // how workers name this machine; empty with a socket
  std::shared_ptr<grpc::ServerCredentials> server_credentials = {};
  // For calls to the workers.
  std::shared_ptr<grpc::ChannelCredentials> channel_credentials = {};
};

absl::StatusOr<WorkerMeetingPlace> MakeMeetingPlace(const Config& config,
                                                    const DataFolder& folder);

// `control` is the target at which workers report. NOT_FOUND or
// FAILED_PRECONDITION, with what to install or to start, if workers can't be
// launched here.
absl::StatusOr<std::unique_ptr<WorkerLauncher>> MakeLauncher(
    const Config& config, const DataFolder& folder, const std::string& control);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_LAUNCHERS_H_
