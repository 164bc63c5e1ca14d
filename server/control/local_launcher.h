// Workers as child processes of the server, on its machine. They are killed
// when the server, or the thread that launched them, ends. Thread safe; what it
// launched belongs to the launching thread.
//
//   LocalLauncher launcher({.program = "/usr/bin/dissonance-worker", ...});
//   ASSIGN_OR_RETURN(auto worker, launcher.Launch(launch));
#ifndef DISSONANCE_SERVER_CONTROL_LOCAL_LAUNCHER_H_
#define DISSONANCE_SERVER_CONTROL_LOCAL_LAUNCHER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/control/worker_launcher.h"

namespace dissonance {

class LocalLauncher final : public WorkerLauncher {
 public:
  struct Options {
    std::string program;  // absolute path
    // Of a worker, without --listen.
    std::function<std::vector<std::string>(int worker)> arguments;
    std::vector<std::string> environment;  // "NAME=VALUE", of all
    std::string socket_prefix;  // their sockets are this and a number
    std::function<std::string(int worker)> log_file;
  };

  explicit LocalLauncher(Options options) : options_(std::move(options)) {}

  absl::StatusOr<std::unique_ptr<LaunchedWorker>> Launch(
      const WorkerLaunch& launch) override;

 private:
  const Options options_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LOCAL_LAUNCHER_H_
