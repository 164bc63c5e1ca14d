// A child process: started without a shell, watched by a descriptor, ended by
// signals. Not thread safe. Ends the child with SIGKILL when destroyed.
//
//   ASSIGN_OR_RETURN(auto child, ChildProcess::Start({.program = "/bin/x"}));
//   poll child->pidfd() for POLLIN; then child->Reap();
#ifndef DISSONANCE_SERVER_CONTROL_CHILD_PROCESS_H_
#define DISSONANCE_SERVER_CONTROL_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dissonance {

class ChildProcess {
 public:
  struct Options {
    std::string program;  // absolute path
    std::vector<std::string> arguments = {};
    // "NAME=VALUE", added to this process's environment.
    std::vector<std::string> environment = {};
    std::string log_file = {};  // takes its output, appended
  };

  // The child gets SIGKILL when the thread that started it ends, from its first
  // moment on. It gets no other descriptors of ours, default signal handling
  // and a process group of its own, so that a Ctrl-C reaches only its parent.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const Options& options);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Readable once the child has ended.
  int pidfd() const { return pidfd_; }
  void Signal(int signal) const;
  // Waits for the end; says how it came, as in "signal 9 (Killed)".
  std::string Reap();

 private:
  ChildProcess(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}

  const pid_t pid_;
  const int pidfd_;
  bool reaped_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CHILD_PROCESS_H_
