// The clients of a storm: threads that make jobs of a mix under request ids of
// their own, cancel, retry and pause some, and watch them to their ends through
// all lost connections.
//
//   StormClients clients(mix, {.data_dir = folder, .client_count = 12});
//   clients.Start();
//   ...
//   std::vector<AcknowledgedJob> jobs = clients.Finish();
#ifndef DISSONANCE_TESTS_ENDURANCE_STORM_CLIENTS_H_
#define DISSONANCE_TESTS_ENDURANCE_STORM_CLIENTS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "tests/endurance/client.h"
#include "tests/endurance/job_checks.h"
#include "tests/endurance/job_mix.h"
#include "tests/endurance/soak_calls.h"

namespace dissonance {

// What a client knows of a job that the server acknowledged.
struct AcknowledgedJob {
  std::string name;
  std::string request_id;
  size_t planned = 0;      // its place in the mix
  std::string follows;     // the job that it depends on
  bool cancelled = false;  // CancelJob said yes, and no retry came after
  SeenEvents seen;         // what watchers were told
  std::string last_state;  // of the job in the watch's last message
};

// Thread safe. Borrows the mix.
class StormClients {
 public:
  struct Options {
    std::string data_dir;
    std::string token;
    int client_count = 12;
    // Threads that make other calls.
    int caller_count = 2;
    // Rounds over the mix at least; then until Finish.
    int round_count = 1;
  };

  StormClients(const std::vector<PlannedJob>& mix, const Options& options)
      : mix_(mix), options_(options) {}
  ~StormClients() { Finish(); }

  void Start();
  // Lets each thread end the job that it has, and all rounds be made; waits.
  void Finish();

  // After Finish.
  std::vector<AcknowledgedJob> jobs() const;
  std::vector<std::string> faults() const;
  int64_t retry_count() const { return retry_count_; }
  // Of the other calls.
  const SoakLedger& ledger() const { return ledger_; }

 private:
  void RunClient();
  void RunCaller(int index);
  // The planned job and the one that follows it, if any.
  void RunUnit(Client& client, size_t serial);
  absl::Status Create(Client& client, AcknowledgedJob& job) const;
  absl::Status CarryOut(Client& client, AcknowledgedJob& job) const;
  absl::Status Watch(Client& client, AcknowledgedJob& job) const;
  void AddFault(absl::string_view fault);

  const std::vector<PlannedJob>& mix_;
  const Options options_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> finishing_ = false;
  std::atomic<int64_t> retry_count_ = 0;
  SoakLedger ledger_;
  std::vector<std::thread> threads_;
  mutable absl::Mutex mutex_;
  std::vector<AcknowledgedJob> jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> faults_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_STORM_CLIENTS_H_
