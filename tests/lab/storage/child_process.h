// Runs code in a forked process, so that it may be killed, limited or lose its
// rights without the test. The calling process must have one thread only.
#ifndef DISSONANCE_TESTS_LAB_STORAGE_CHILD_PROCESS_H_
#define DISSONANCE_TESTS_LAB_STORAGE_CHILD_PROCESS_H_

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"

namespace dissonance {

// How the child ended, as waitpid has it. Exit code 0: `body` returned OK.
template <typename Body>
int RunInChild(Body&& body) {
  const pid_t pid = ::fork();
  if (pid < 0) std::abort();
  if (pid == 0) {
    const absl::Status status = body();
    if (!status.ok()) {
      std::fprintf(stderr, "child: %s\n", status.ToString().c_str());
    }
    ::_exit(status.ok() ? 0 : 1);
  }
  int ended = 0;
  if (::waitpid(pid, &ended, 0) != pid) std::abort();
  return ended;
}

inline bool ExitedWell(int ended) {
  return WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_STORAGE_CHILD_PROCESS_H_
