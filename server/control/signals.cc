#include "server/control/signals.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

namespace dissonance {
namespace {

constexpr char kSecondSignal[] = "second signal: ending at once\n";

sigset_t EndSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  return set;
}

int Await() {
  const sigset_t set = EndSignals();
  int signal = 0;
  ::sigwait(&set, &signal);
  return signal;
}

}  // namespace

void BlockEndSignals() {
  const sigset_t set = EndSignals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int AwaitEndSignal() {
  const int signal = Await();
  // Ends with the process.
  std::thread([] {
    Await();
    // If this fails there is nobody left to tell.
    (void)!::write(STDERR_FILENO, kSecondSignal, sizeof(kSecondSignal) - 1);
    std::_Exit(EXIT_FAILURE);
  }).detach();
  return signal;
}

}  // namespace dissonance
