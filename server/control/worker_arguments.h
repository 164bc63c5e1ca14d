// What dissonance-worker is told: its command line and environment, from the
// configuration. Thread safe.
//
//   options.arguments = [&](int worker) {
//     return WorkerArguments(config, folder, "unix:/run/control", worker);
//   };
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_ARGUMENTS_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_ARGUMENTS_H_

#include <string>
#include <vector>

#include "server/control/config.h"
#include "server/control/data_folder.h"

namespace dissonance {

// Without --listen and what proves who it is. `control` is where it reports, a
// gRPC target.
std::vector<std::string> WorkerArguments(const Config& config,
                                         const DataFolder& folder,
                                         const std::string& control,
                                         int worker);

// "cpu" or "cuda:N": local workers take devices one after the other; a
// cluster's job is given its own.
std::string DeviceOf(const WorkerConfig& config, int worker);

// "NAME=VALUE", of all workers.
std::vector<std::string> WorkerEnvironment(const WorkerConfig& config);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_ARGUMENTS_H_
