// A server whose processes are killed at random, over and over, on one data
// directory. Used by one thread; owns the server.
//
//   StormServer server({.data_dir = folder}, seed);
//   RETURN_IF_ERROR(server.Start());
//   while (server.figures().kill_count() < 200) RETURN_IF_ERROR(server.Kill());
//   RETURN_IF_ERROR(server.Settle());
#ifndef DISSONANCE_TESTS_ENDURANCE_STORM_SERVER_H_
#define DISSONANCE_TESTS_ENDURANCE_STORM_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/testing/server_process.h"

namespace dissonance {

class StormServer {
 public:
  struct Figures {
    int control_kill_count = 0;  // of the control plane alone
    int worker_kill_count = 0;   // of the worker alone
    int both_kill_count = 0;
    int early_kill_count = 0;  // of all: before the server served again
    std::vector<double> seconds_to_serve = {};  // after a kill

    int kill_count() const {
      return control_kill_count + worker_kill_count + both_kill_count;
    }
  };

  StormServer(const ServerProcess::Options& options, uint64_t seed)
      : options_(options), random_(seed) {}

  // Starts it and waits until it serves.
  absl::Status Start();
  // Waits a random while, kills a random victim and sees to it that a server
  // runs again. Most times it also waits until that one serves; at others the
  // next kill comes while it starts. An error says which promise broke.
  absl::Status Kill();
  // Waits until it serves, and by one worker.
  absl::Status Settle();
  // SIGTERM, and no process of the data directory is left.
  absl::Status Stop();

  const Figures& figures() const { return figures_; }

 private:
  enum class Victim { kControl, kWorker, kBoth };

  absl::Duration RandomDelay(absl::Duration most);
  Victim ChooseVictim();
  void KillControl();
  // The worker's process; 0 if there is none.
  pid_t Worker() const;
  // Until a successor of the old worker serves; the old one has to be gone
  // then.
  absl::Status AwaitServing(pid_t old_worker);

  const ServerProcess::Options options_;
  std::mt19937_64 random_;
  std::unique_ptr<ServerProcess> server_;
  Figures figures_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_STORM_SERVER_H_
