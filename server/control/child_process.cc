#include "server/control/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What the child needs, made before it exists: there it may only make calls
// that are safe in a signal handler, as other threads' locks stay locked.
struct Plan {
  const char* program = nullptr;
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  const char* log_file = nullptr;
  pid_t parent = 0;
  int error_fd = -1;  // takes errno; closed when the program runs
};

// The end of its parent reaches the child from its first moment on, not only
// once the program has been loaded. False with errno.
bool DieWithParent(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
  // It ended before.
  if (::getppid() != parent) ::_exit(EXIT_FAILURE);
  return true;
}

bool SetFiles(const char* log_file) {
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log =
      ::open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  return input >= 0 && log >= 0 && ::dup2(input, STDIN_FILENO) >= 0 &&
         ::dup2(log, STDOUT_FILENO) >= 0 && ::dup2(log, STDERR_FILENO) >= 0 &&
         ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

bool SetSignals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  return ::sigprocmask(SIG_SETMASK, &none, nullptr) == 0;
}

[[noreturn]] void BecomeProgram(const Plan& plan) {
  if (DieWithParent(plan.parent) && SetFiles(plan.log_file) &&
      ::setpgid(0, 0) == 0 && SetSignals()) {
    ::execve(plan.program, plan.arguments, plan.environment);
  }
  const int error = errno;
  // Without a reader there is nobody to tell.
  [[maybe_unused]] const ssize_t written =
      ::write(plan.error_fd, &error, sizeof(error));
  ::_exit(EXIT_FAILURE);
}

// The child, which runs the program; or why it does not, after `what`, and it
// is gone.
absl::StatusOr<pid_t> Fork(Plan plan, const std::string& what) {
  int error_pipe[2];
  if (::pipe2(error_pipe, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, what);
  }
  plan.parent = ::getpid();
  plan.error_fd = error_pipe[1];
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  const int fork_error = errno;
  if (pid == 0) BecomeProgram(plan);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(error_pipe[1]);
  const absl::Cleanup close = [&] { ::close(error_pipe[0]); };
  if (pid < 0) return absl::ErrnoToStatus(fork_error, what);
  int error = 0;
  ssize_t size = 0;
  while ((size = ::read(error_pipe[0], &error, sizeof(error))) < 0 &&
         errno == EINTR) {
  }
  if (size == 0) return pid;
  ::waitpid(pid, nullptr, 0);
  return absl::ErrnoToStatus(error, what);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const Options& options) {
  std::vector<std::string> arguments = {options.program};
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  std::vector<std::string> environment = options.environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  const std::vector<char*> argument_pointers = Pointers(arguments);
  const std::vector<char*> environment_pointers = Pointers(environment);
  ASSIGN_OR_RETURN(const pid_t pid,
                   Fork({.program = options.program.c_str(),
                         .arguments = argument_pointers.data(),
                         .environment = environment_pointers.data(),
                         .log_file = options.log_file.c_str()},
                        absl::StrCat("cannot start ", options.program,
                                     " with its log ", options.log_file)));
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    const int open_error = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return absl::ErrnoToStatus(open_error, "pidfd_open");
  }
  ::fcntl(pidfd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, pidfd));
}

ChildProcess::~ChildProcess() {
  if (!reaped_) {
    Signal(SIGKILL);
    Reap();
  }
  ::close(pidfd_);
}

void ChildProcess::Signal(int signal) const {
  ::syscall(SYS_pidfd_send_signal, pidfd_, signal, nullptr, 0);
}

std::string ChildProcess::Reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  if (WIFEXITED(status)) {
    return absl::StrCat("exit code ", WEXITSTATUS(status));
  }
  return absl::StrCat("signal ", WTERMSIG(status), " (",
                      ::strsignal(WTERMSIG(status)), ")");
}

}  // namespace dissonance
