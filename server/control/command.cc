#include "server/control/command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct Pipe {
  Descriptor read;
  Descriptor write;
};

// Reading does not wait.
absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
  return Pipe{Descriptor(fds[0]), Descriptor(fds[1])};
}

// A file of memory: unlike a pipe it takes all at once.
absl::StatusOr<Descriptor> MakeInput(absl::string_view input) {
  Descriptor file(::memfd_create("input", MFD_CLOEXEC));
  if (file.get() < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  while (!input.empty()) {
    const ssize_t size = ::write(file.get(), input.data(), input.size());
    if (size < 0) return absl::ErrnoToStatus(errno, "writing to memory");
    input.remove_prefix(static_cast<size_t>(size));
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

absl::StatusOr<pid_t> Spawn(const std::string& path, const Command& command,
                            const Descriptor& input, const Pipe& output,
                            const Pipe& errors) {
  std::vector<std::string> arguments = {command.program};
  arguments.insert(arguments.end(), command.arguments.begin(),
                   command.arguments.end());
  std::vector<std::string> environment = command.environment;
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, output.write.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, errors.write.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) {
    ::sigaddset(&signals, signal);
  }
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, path.c_str(), &files, &attributes,
                    Pointers(arguments).data(), Pointers(environment).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", path));
  }
  return pid;
}

// Takes what is there; false once nothing more can come.
bool Drain(int fd, std::string& to) {
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size > 0) {
      to.append(buffer.data(), static_cast<size_t>(size));
      return true;
    }
    if (size == 0) return false;
    if (errno != EINTR) return errno == EAGAIN;
  }
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Reads until the process has ended. An error says why it has to be killed.
absl::Status ReadUntilEnd(const Command& command, int pidfd, Pipe& output,
                          Pipe& errors, CommandOutput& into) {
  const Clock& clock = Clock::Real();
  const absl::Duration deadline = clock.Monotonic() + command.time_limit;
  while (true) {
    const absl::Duration left = deadline - clock.Monotonic();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat(command.program, " did not end within ",
                       absl::FormatDuration(command.time_limit)));
    }
    // A negative descriptor is skipped by poll.
    pollfd fds[] = {{output.read.get(), POLLIN, 0},
                    {errors.read.get(), POLLIN, 0},
                    {pidfd, POLLIN, 0}};
    ::poll(fds, 3,
           static_cast<int>(std::clamp<int64_t>(
               absl::ToInt64Milliseconds(left) + 1, 1, 60'000)));
    if (fds[0].revents != 0 && !Drain(output.read.get(), into.output)) {
      output.read.Close();
    }
    if (fds[1].revents != 0 && !Drain(errors.read.get(), into.errors)) {
      errors.read.Close();
    }
    if (std::max(into.output.size(), into.errors.size()) >
        command.output_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(command.program, " wrote more than ",
                       command.output_bytes, " bytes"));
    }
    // Something that it left running may keep the pipes open: what is in them
    // when it ends is its own.
    const bool is_drained = fds[0].revents == 0 && fds[1].revents == 0;
    if (fds[2].revents != 0 && is_drained) return absl::OkStatus();
  }
}

bool CanRun(const std::string& path) {
  struct stat stat = {};
  return ::stat(path.c_str(), &stat) == 0 && S_ISREG(stat.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

absl::StatusOr<std::string> FindProgram(absl::string_view name) {
  if (name.find('/') != absl::string_view::npos) {
    std::string path(name);
    if (CanRun(path)) return path;
    return absl::NotFoundError(absl::StrCat("there is no program ", name));
  }
  const char* const variable = std::getenv("PATH");
  const std::string folders = variable == nullptr ? "" : variable;
  for (const absl::string_view folder :
       absl::StrSplit(folders, ':', absl::SkipEmpty())) {
    std::string path = absl::StrCat(folder, "/", name);
    if (CanRun(path)) return path;
  }
  return absl::NotFoundError(
      absl::StrCat("there is no program ", name, " in PATH (", folders, ")"));
}

absl::StatusOr<CommandOutput> RunCommand(const Command& command) {
  ASSIGN_OR_RETURN(const std::string path, FindProgram(command.program));
  ASSIGN_OR_RETURN(const Descriptor input, MakeInput(command.input));
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(Pipe errors, MakePipe());
  ASSIGN_OR_RETURN(const pid_t pid,
                   Spawn(path, command, input, output, errors));
  output.write.Close();
  errors.write.Close();
  const Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  CommandOutput result;
  const absl::Status read =
      pidfd.get() < 0
          ? absl::ErrnoToStatus(errno, "pidfd_open")
          : ReadUntilEnd(command, pidfd.get(), output, errors, result);
  // Its own group: also whatever it started.
  if (!read.ok()) ::kill(-pid, SIGKILL);
  result.exit_code = WaitFor(pid);
  RETURN_IF_ERROR(read);
  return result;
}

}  // namespace dissonance
