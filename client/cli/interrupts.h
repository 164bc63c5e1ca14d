// Ctrl-C as an event instead of the end of the process. Thread compatible;
// owns a signalfd.
//
//   ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
//   if (interrupts->During([&] { context.TryCancel(); },
//                          [&] { ReadStream(); })) {
//     // Ctrl-C was pressed while the stream was read.
//   }
#ifndef DISSONANCE_CLIENT_CLI_INTERRUPTS_H_
#define DISSONANCE_CLIENT_CLI_INTERRUPTS_H_

#include <csignal>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dissonance::cli {

class Interrupts {
 public:
  // Takes SIGINT over for the process until destroyed. REQUIRES: the caller is
  // the only thread, so that threads started later inherit the mask.
  static absl::StatusOr<std::unique_ptr<Interrupts>> Create();
  ~Interrupts();

  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Runs `work`; at the first Ctrl-C meanwhile calls `on_interrupt` from
  // another thread. Returns whether that happened.
  bool During(const std::function<void()>& on_interrupt,
              const std::function<void()>& work);

  // Runs `work`; Ctrl-C meanwhile ends the process at once with kExitCancelled,
  // for steps that leave nothing half done.
  void EndProcessDuring(const std::function<void()>& work);

  // Waits for a Ctrl-C; false if none came within `timeout`.
  bool Wait(absl::Duration timeout);

 private:
  Interrupts(int signal_fd, const sigset_t& previous);

  const int signal_fd_;
  const sigset_t previous_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_INTERRUPTS_H_
