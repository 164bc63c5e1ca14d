#include "client/cli/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kProgram[] = "dissonanced";

int PidfdOpen(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

// Whether the process runs the server's program. Read after the descriptor was
// opened, so that the answer is about the process it holds.
bool RunsServer(pid_t pid) {
  const absl::StatusOr<std::string> name =
      ReadFile(absl::StrCat("/proc/", pid, "/comm"), 256);
  return name.ok() && absl::StripAsciiWhitespace(*name) == kProgram;
}

}  // namespace

std::string PidPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kProgram, ".pid");
}

std::string LogPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/logs/", kProgram, ".log");
}

absl::StatusOr<std::string> ServerProgram() {
  std::error_code error;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return absl::ErrnoToStatus(error.value(), "cannot read /proc/self/exe");
  }
  const std::string program = self.parent_path() / kProgram;
  if (::access(program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(
        "there is no program ", program,
        "; build or install dissonanced beside dissonance ('./run build')"));
  }
  return program;
}

absl::StatusOr<ServerProcess> ServerProcess::Find(const std::string& data_dir) {
  const std::string path = PidPath(data_dir);
  const absl::Status none = absl::NotFoundError(
      absl::StrCat("no server runs on the data directory ", data_dir));
  const absl::StatusOr<std::string> text = ReadFile(path, 256);
  if (absl::IsNotFound(text.status())) return none;
  if (!text.ok()) return text.status();
  pid_t pid = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &pid) || pid <= 0) {
    return absl::DataLossError(
        absl::StrCat(path, " does not hold a process number"));
  }
  const int fd = PidfdOpen(pid);
  if (fd < 0 && errno == ESRCH) return none;
  if (fd < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot watch process ", pid));
  }
  ServerProcess process(pid, fd);
  if (!RunsServer(pid) || process.WaitForEnd(absl::ZeroDuration())) return none;
  return process;
}

absl::StatusOr<ServerProcess> ServerProcess::Start(
    const std::string& program, const std::vector<std::string>& arguments,
    const std::string& log_path) {
  // The data directory is its owner's alone, whoever makes it first.
  const mode_t mask = ::umask(0077);
  const absl::Status made =
      MakeDirectories(std::filesystem::path(log_path).parent_path());
  ::umask(mask);
  RETURN_IF_ERROR(made);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  absl::Cleanup destroy = [&] {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  };
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log_path.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &files, &attributes,
                                  argv.data(), environ);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", program,
                                                   " with its log ", log_path));
  }
  const int fd = PidfdOpen(pid);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot watch process ", pid));
  }
  return ServerProcess(pid, fd);
}

ServerProcess::~ServerProcess() {
  if (fd_ >= 0) ::close(fd_);
}

bool ServerProcess::WaitForEnd(absl::Duration timeout) const {
  pollfd fd = {fd_, POLLIN, 0};
  while (true) {
    const int ready =
        ::poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

absl::Status ServerProcess::Terminate() const {
  if (::syscall(SYS_pidfd_send_signal, fd_, SIGTERM, nullptr, 0) != 0 &&
      errno != ESRCH) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot send SIGTERM to process ", pid_));
  }
  return absl::OkStatus();
}

std::string ServerProcess::EndOfChild() const {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return "unknown end";
  return WIFEXITED(status) ? absl::StrCat("exit code ", WEXITSTATUS(status))
                           : absl::StrCat("signal ", WTERMSIG(status));
}

}  // namespace dissonance::cli
