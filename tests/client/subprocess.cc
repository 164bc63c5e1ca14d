#include "tests/client/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

constexpr int kDeadlineMilliseconds = 60'000;

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Appends what `fd` has to `to`; closes it at its end.
void Drain(int& fd, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) {
    to.append(buffer.data(), static_cast<size_t>(n));
  } else {
    ::close(fd);
    fd = -1;
  }
}

}  // namespace

Subprocess::Subprocess(const std::vector<std::string>& argv,
                       const std::map<std::string, std::string>& environment,
                       const std::string& input) {
  int out[2];
  int err[2];
  EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(err, O_CLOEXEC), 0);
  const int in = ::memfd_create("stdin", MFD_CLOEXEC);
  EXPECT_EQ(::write(in, input.data(), input.size()),
            static_cast<ssize_t>(input.size()));
  ::lseek(in, 0, SEEK_SET);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO);
  std::vector<std::string> arguments = argv;
  std::vector<std::string> variables;
  variables.reserve(environment.size());
  for (const auto& [name, value] : environment) {
    variables.push_back(absl::StrCat(name, "=", value));
  }
  EXPECT_EQ(
      ::posix_spawn(&pid_, argv[0].c_str(), &files, nullptr,
                    Pointers(arguments).data(), Pointers(variables).data()),
      0)
      << argv[0];
  ::posix_spawn_file_actions_destroy(&files);
  ::close(in);
  ::close(out[1]);
  ::close(err[1]);
  out_fd_ = out[0];
  err_fd_ = err[0];
}

Subprocess::~Subprocess() {
  if (pid_ > 0) Finish();
}

bool Subprocess::ReadSome() {
  // A negative descriptor is skipped by poll.
  pollfd fds[] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  if (out_fd_ < 0 && err_fd_ < 0) return false;
  if (::poll(fds, 2, kDeadlineMilliseconds) == 0) {
    ADD_FAILURE() << "the program is stuck; it wrote:\n"
                  << result_.out << result_.err;
    ::kill(pid_, SIGKILL);
    return false;
  }
  if (fds[0].revents != 0) Drain(out_fd_, result_.out);
  if (fds[1].revents != 0) Drain(err_fd_, result_.err);
  return true;
}

void Subprocess::WaitForError(const std::string& text) {
  while (result_.err.find(text) == std::string::npos) {
    if (!ReadSome()) FAIL() << "never wrote: " << text << "\n" << result_.err;
  }
}

void Subprocess::WaitForOutput(const std::string& text) {
  while (result_.out.find(text) == std::string::npos) {
    if (!ReadSome()) FAIL() << "never wrote: " << text << "\n" << result_.out;
  }
}

void Subprocess::Signal(int signal) { ::kill(pid_, signal); }

CommandResult Subprocess::Finish() {
  while (ReadSome()) {
  }
  int status = 0;
  if (::waitpid(pid_, &status, 0) == pid_) {
    result_.exit_code =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  pid_ = -1;
  return result_;
}

}  // namespace dissonance
