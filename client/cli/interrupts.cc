#include "client/cli/interrupts.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "client/cli/errors.h"

namespace dissonance::cli {
namespace {

// Takes one signal off the descriptor.
void Consume(int signal_fd) {
  signalfd_siginfo info;
  while (::read(signal_fd, &info, sizeof(info)) < 0 && errno == EINTR) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Interrupts>> Interrupts::Create() {
  sigset_t set;
  sigset_t previous;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, &previous);
      error != 0) {
    return absl::ErrnoToStatus(error, "cannot block SIGINT");
  }
  const int fd = ::signalfd(-1, &set, SFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "cannot make a signalfd");
  return std::unique_ptr<Interrupts>(new Interrupts(fd, previous));
}

Interrupts::Interrupts(int signal_fd, const sigset_t& previous)
    : signal_fd_(signal_fd), previous_(previous) {}

Interrupts::~Interrupts() {
  ::close(signal_fd_);
  ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

bool Interrupts::During(const std::function<void()>& on_interrupt,
                        const std::function<void()>& work) {
  const int done_fd = ::eventfd(0, EFD_CLOEXEC);
  absl::Cleanup close_done = [done_fd] { ::close(done_fd); };
  bool interrupted = false;
  std::thread listener([&] {
    pollfd fds[] = {{done_fd, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    if ((fds[1].revents & POLLIN) != 0) {
      Consume(signal_fd_);
      interrupted = true;
      on_interrupt();
    }
  });
  work();
  const uint64_t one = 1;
  while (::write(done_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  listener.join();
  return interrupted;
}

void Interrupts::EndProcessDuring(const std::function<void()>& work) {
  During([] { ::_exit(kExitCancelled); }, work);
}

bool Interrupts::Wait(absl::Duration timeout) {
  pollfd fd = {signal_fd_, POLLIN, 0};
  const int ready =
      ::poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  if (ready <= 0) return false;
  Consume(signal_fd_);
  return true;
}

}  // namespace dissonance::cli
