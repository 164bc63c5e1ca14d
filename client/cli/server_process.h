// The server process on this machine: its files in the data directory, its
// start, its life and its end. Thread compatible.
#ifndef DISSONANCE_CLIENT_CLI_SERVER_PROCESS_H_
#define DISSONANCE_CLIENT_CLI_SERVER_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dissonance::cli {

// DATA_DIR/dissonanced.pid and DATA_DIR/logs/dissonanced.log.
std::string PidPath(const std::string& data_dir);
std::string LogPath(const std::string& data_dir);

// The program dissonanced that lies beside this one. NOT_FOUND, with how to
// build it, if it is not there.
absl::StatusOr<std::string> ServerProgram();

// A process held by a descriptor, so that its number cannot come to mean
// another. Movable; owns the descriptor.
class ServerProcess {
 public:
  // The process that DATA_DIR/dissonanced.pid names. NOT_FOUND if there is no
  // such file, or the process has ended or is something else.
  static absl::StatusOr<ServerProcess> Find(const std::string& data_dir);

  // Starts `program` in a session of its own, its standard streams at the end
  // of `log_path`, whose folder is made if missing.
  static absl::StatusOr<ServerProcess> Start(
      const std::string& program, const std::vector<std::string>& arguments,
      const std::string& log_path);

  ServerProcess(ServerProcess&& other) noexcept
      : pid_(other.pid_), fd_(std::exchange(other.fd_, -1)) {}
  ServerProcess& operator=(ServerProcess&&) = delete;
  ~ServerProcess();

  // Waits for its end; false if it still runs after `timeout`.
  bool WaitForEnd(absl::Duration timeout) const;

  // Asks it to finish what it has begun and end.
  absl::Status Terminate() const;

  // How a process started by Start ended: "exit code 1", "signal 9".
  // REQUIRES: WaitForEnd returned true.
  std::string EndOfChild() const;

  pid_t pid() const { return pid_; }

 private:
  ServerProcess(pid_t pid, int fd) : pid_(pid), fd_(fd) {}

  pid_t pid_;
  int fd_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SERVER_PROCESS_H_
